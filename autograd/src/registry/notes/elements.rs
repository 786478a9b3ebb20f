//! Notes on functions of one and of two elements.

use gradus_tensor::ops::binary::BinaryOp;
use gradus_tensor::ops::unary::UnaryOp;

use super::{Note, plain};

/// A step or a constant: its slope is 0 wherever it has one.
const FLAT: &str = "The function is constant between its steps, so its slope there is 0. At a step it has no slope, \
                    and 0 is taken as well.";

pub(super) fn unary(op: UnaryOp) -> Note {
    use UnaryOp::*;
    match op {
        Neg => plain("torch.neg", r"y = -x", r"\bar x = -\bar y", "The slope is −1 everywhere."),
        Abs => plain(
            "torch.abs",
            r"y = |x|",
            r"\bar x = \bar y \operatorname{sign} x",
            "The slope is 1 right of 0 and −1 left of it. At 0 there is none; the sign, 0, is taken.",
        ),
        Sign => plain("torch.sign", r"y = \operatorname{sign} x", r"\bar x = 0", FLAT),
        Floor => plain("torch.floor", r"y = \lfloor x \rfloor", r"\bar x = 0", FLAT),
        Ceil => plain("torch.ceil", r"y = \lceil x \rceil", r"\bar x = 0", FLAT),
        Round => plain("torch.round", r"y = \lfloor x \rceil", r"\bar x = 0", FLAT),
        Exp => plain(
            "torch.exp",
            r"y = e^x",
            r"\bar x = \bar y\, y",
            "The exponential function is its own derivative.",
        )
        .keeps("The output is the derivative, so the input is not kept."),
        Log => plain(
            "torch.log",
            r"y = \ln x",
            r"\bar x = \bar y / x",
            r"$e^y = x$, so $e^y\,y' = 1$ and $y' = 1/x$.",
        ),
        Log1p => plain(
            "torch.log1p",
            r"y = \ln(1 + x)",
            r"\bar x = \bar y / (1 + x)",
            "The chain rule on ln; the inner slope is 1.",
        ),
        Sqrt => plain(
            "torch.sqrt",
            r"y = \sqrt x",
            r"\bar x = \bar y / (2 y)",
            r"$y^2 = x$, so $2y\,y' = 1$.",
        )
        .keeps("The slope is a function of the output, which saves a second root."),
        Rsqrt => plain(
            "torch.rsqrt",
            r"y = x^{-1/2}",
            r"\bar x = -\tfrac12\,\bar y\,y^3",
            r"The power rule gives $-\tfrac12 x^{-3/2}$, and $x^{-3/2} = y^3$.",
        )
        .keeps("The slope is a function of the output, which saves a second root."),
        Reciprocal => plain(
            "torch.reciprocal",
            r"y = 1/x",
            r"\bar x = -\bar y\,y^2",
            r"$x\,y = 1$, so $y + x\,y' = 0$ and $y' = -y/x = -y^2$.",
        )
        .keeps("The slope is a function of the output."),
        Square => plain(
            "torch.square",
            r"y = x^2",
            r"\bar x = 2 x\,\bar y",
            r"$(x + h)^2 - x^2 = 2xh + h^2$; for small $h$ the first term is left.",
        ),
        Sin => plain(
            "torch.sin",
            r"y = \sin x",
            r"\bar x = \bar y \cos x",
            "The point on the circle moves at a right angle to its radius: the sine grows by the cosine.",
        ),
        Cos => plain(
            "torch.cos",
            r"y = \cos x",
            r"\bar x = -\bar y \sin x",
            "The point on the circle moves at a right angle to its radius: the cosine falls by the sine.",
        ),
        Tanh => plain(
            "torch.tanh",
            r"y = \tanh x = \frac{e^x - e^{-x}}{e^x + e^{-x}}",
            r"\bar x = \bar y\,(1 - \tanh^2 x)",
            "The quotient rule on sinh/cosh, with cosh² − sinh² = 1: the slope is 1/cosh² = 1 − tanh².",
        )
        .keeps("PyTorch keeps the output. Here the fused kernel takes the input and computes tanh again, in one pass."),
        Sigmoid => plain(
            "torch.sigmoid",
            r"y = \sigma(x) = \frac{1}{1 + e^{-x}}",
            r"\bar x = \bar y\,\sigma(x)\,(1 - \sigma(x))",
            r"$\sigma' = e^{-x}/(1 + e^{-x})^2$, and $e^{-x}/(1 + e^{-x}) = 1 - \sigma$.",
        ),
        Softplus => plain(
            "torch.nn.functional.softplus",
            r"y = \ln(1 + e^x)",
            r"\bar x = \bar y\,\sigma(x)",
            r"The chain rule gives $e^x/(1 + e^x)$, which is the logistic function.",
        ),
        Erf => plain(
            "torch.erf",
            r"y = \frac{2}{\sqrt\pi}\int_0^x e^{-t^2}\,dt",
            r"\bar x = \bar y\,\frac{2}{\sqrt\pi}\,e^{-x^2}",
            "The slope of an integral by its upper limit is the function under it.",
        ),
        Gelu => plain(
            "torch.nn.functional.gelu",
            r"y = x\,\Phi(x), \quad \Phi(x) = \tfrac12\left(1 + \operatorname{erf}\frac{x}{\sqrt 2}\right)",
            r"\bar x = \bar y\,\left(\Phi(x) + x\,\varphi(x)\right), \quad \varphi(x) = \frac{e^{-x^2/2}}{\sqrt{2\pi}}",
            r"The product rule, with $\Phi' = \varphi$: the density of the normal distribution.",
        )
        .by("Hendrycks & Gimpel, arXiv:1606.08415"),
        GeluTanh => plain(
            "torch.nn.functional.gelu(approximate='tanh')",
            r"y = \tfrac12 x\,(1 + t), \quad t = \tanh u, \quad u = \sqrt{2/\pi}\,(x + 0.044715\,x^3)",
            r"\bar x = \tfrac12\,\bar y\,\left(1 + t + x\,(1 - t^2)\,u'\right), \quad u' = \sqrt{2/\pi}\,(1 + 3 \cdot 0.044715\,x^2)",
            "The product rule, and the chain rule through tanh.",
        )
        .by("Hendrycks & Gimpel, arXiv:1606.08415"),
        Relu => plain(
            "torch.relu",
            r"y = \max(x, 0)",
            r"\bar x = \bar y \;\text{where}\; x > 0, \;\text{else}\; 0",
            "The slope is 1 right of 0 and 0 left of it. At 0 there is none; 0 is taken, as PyTorch does.",
        ),
        Silu => plain(
            "torch.nn.functional.silu",
            r"y = x\,\sigma(x)",
            r"\bar x = \bar y\,\sigma(x)\,\left(1 + x\,(1 - \sigma(x))\right)",
            r"The product rule, with $\sigma' = \sigma(1 - \sigma)$.",
        )
        .by("Elfwing, Uchibe & Doya, arXiv:1702.03118"),
        Affine { .. } => plain(
            "x * mul + add",
            r"y = m x + c",
            r"\bar x = m\,\bar y",
            "The slope of a straight line. m and c are plain numbers, so they get no gradient.",
        ),
        Powf(_) => plain(
            "torch.pow(x, e)",
            r"y = x^e",
            r"\bar x = \bar y\,e\,x^{e-1}",
            "The power rule. The exponent is a plain number, so it gets no gradient.",
        ),
        Clamp { .. } => plain(
            "torch.clamp",
            r"y = \min(\max(x, l), h)",
            r"\bar x = \bar y \;\text{where}\; l < x < h, \;\text{else}\; 0",
            "Between the limits y is x, outside it is constant. At a limit there is no slope; 0 is taken, as \
             PyTorch does since 2.15.",
        ),
    }
}

pub(super) fn binary(op: BinaryOp) -> Note {
    match op {
        BinaryOp::Add => plain(
            "torch.add",
            r"y = a + b",
            r"\bar a = \bar y, \quad \bar b = \bar y",
            "Either term grows the sum by as much as it grows itself.",
        ),
        BinaryOp::Sub => plain(
            "torch.sub",
            r"y = a - b",
            r"\bar a = \bar y, \quad \bar b = -\bar y",
            "As a sum, with the sign of the second term.",
        ),
        BinaryOp::Mul => plain(
            "torch.mul",
            r"y = a\,b",
            r"\bar a = \bar y\,b, \quad \bar b = \bar y\,a",
            "With b fixed, y is a straight line in a with the slope b. With a fixed, the same holds for b.",
        )
        .keeps("Each factor is the other's slope."),
        BinaryOp::Div => plain(
            "torch.div",
            r"y = a / b",
            r"\bar a = \bar y / b, \quad \bar b = -\bar y\,\frac{a/b}{b}",
            r"A product with $1/b$, whose slope is $-1/b^2$. The rule divides twice, because $b^2$ may be out of range.",
        ),
        BinaryOp::Pow => plain(
            "torch.pow",
            r"y = a^b",
            r"\bar a = \bar y\,b\,a^{b-1}, \quad \bar b = \bar y\,a^b \ln a",
            r"$a^b = e^{b \ln a}$, and the chain rule through both.",
        ),
        BinaryOp::Maximum => plain(
            "torch.maximum",
            r"y = \max(a, b)",
            r"\bar a = \bar y \;\text{where}\; a > b, \quad \bar b = \bar y \;\text{where}\; b > a",
            "Only the larger one moves the result. Equal ones share the gradient in halves.",
        ),
        BinaryOp::Minimum => plain(
            "torch.minimum",
            r"y = \min(a, b)",
            r"\bar a = \bar y \;\text{where}\; a < b, \quad \bar b = \bar y \;\text{where}\; b < a",
            "Only the smaller one moves the result. Equal ones share the gradient in halves.",
        ),
    }
}

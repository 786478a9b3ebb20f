//! Notes on operations of whole tensors.

use super::{Note, plain};
use crate::op::Op;

/// What a view's gradient is.
const MOVED: &str =
    "Each output is one input, so each gradient goes back to where its number came from.";
/// The identity by which gradients of softmax become differences.
const SHARES: &str =
    "With $L = \\ln \\sum e^{x_j}$, the slope of $L$ by $x_i$ is $e^{x_i - L}$: the softmax.";

/// The note of any operation but those of one or two elements.
pub(super) fn note(op: Op) -> Option<Note> {
    Some(match op {
        Op::Unary(_) | Op::Binary(_) | Op::Custom(_) => return None,
        Op::Alias
        | Op::Cast
        | Op::Reshape
        | Op::Permute
        | Op::Narrow
        | Op::BroadcastTo
        | Op::Where => view(op),
        Op::Sum | Op::Mean | Op::Max | Op::Min | Op::Var | Op::LogSumExp | Op::SumTo => {
            reduction(op)
        }
        Op::Matmul | Op::Linear | Op::LinearGelu | Op::LinearCat => product(op),
        Op::Softmax | Op::LogSoftmax | Op::CrossEntropy => softmax(op),
        Op::LayerNorm | Op::RmsNorm | Op::DropoutAddLayerNorm | Op::DropoutAddRmsNorm => norm(op),
        Op::Attention | Op::AttentionQkvPacked | Op::RotaryEmbedding | Op::Glu | Op::Dropout => {
            layer(op)
        }
        Op::IndexSelect | Op::IndexAdd | Op::Gather | Op::ScatterAdd | Op::Embedding => index(op),
        Op::Cat | Op::PadZeros | Op::Flip | Op::Checkpoint => join(op),
    })
}

fn view(op: Op) -> Note {
    match op {
        Op::Alias => plain(
            "Tensor.alias",
            r"y = x",
            r"\bar x = \bar y",
            "The value is the same; only its place in the graph is new.",
        ),
        Op::Cast => plain(
            "Tensor.to",
            r"y = \operatorname{round}(x)",
            r"\bar x = \bar y",
            "Rounding is treated as the identity: the gradient is converted to the input's type.",
        ),
        Op::Reshape => {
            plain("torch.reshape", r"y = x", r"\bar x = \bar y \;\text{in the shape of}\; x", MOVED)
        }
        Op::Permute => plain(
            "torch.permute",
            r"y_{i_{p(1)}, i_{p(2)}, \dots} = x_{i_1, i_2, \dots}",
            r"\bar x = \bar y \;\text{under the inverse order}",
            MOVED,
        ),
        Op::Narrow => plain(
            "torch.narrow",
            r"y_i = x_{s + i}, \quad 0 \le i < n",
            r"\bar x_j = \bar y_{j - s} \;\text{inside the range, else}\; 0",
            "The entries inside the range are the outputs; the others move nothing, so their slope is 0.",
        ),
        Op::BroadcastTo => plain(
            "torch.broadcast_to",
            r"y_{k, i} = x_i",
            r"\bar x_i = \sum_k \bar y_{k, i}",
            "A number that is used many times gets the sum of the gradients of its uses.",
        ),
        _ => plain(
            "torch.where",
            r"y = a \;\text{where}\; c, \;\text{else}\; b",
            r"\bar a = \bar y \;\text{where}\; c, \quad \bar b = \bar y \;\text{elsewhere}",
            "Each output is one of the two inputs. Selecting, not multiplying by 0 and 1, keeps an infinite gradient of the \
             other side out.",
        ),
    }
}

fn reduction(op: Op) -> Note {
    match op {
        Op::Sum => plain(
            "torch.sum",
            r"y = \sum_i x_i",
            r"\bar x_i = \bar y",
            "Each term moves the sum by as much as itself.",
        ),
        Op::SumTo => plain(
            "Tensor.sum_to_size",
            r"y_i = \sum_k x_{k, i}",
            r"\bar x_{k, i} = \bar y_i",
            "The transpose of broadcasting, so its gradient is broadcasting.",
        ),
        Op::Mean => plain(
            "torch.mean",
            r"y = \frac1n \sum_i x_i",
            r"\bar x_i = \bar y / n",
            "A sum, divided by the constant n.",
        ),
        Op::Max | Op::Min => {
            let (torch, formula) = match op {
                Op::Max => ("torch.amax", r"y = \max_i x_i"),
                _ => ("torch.amin", r"y = \min_i x_i"),
            };
            plain(
                torch,
                formula,
                r"\bar x_i = \bar y / m \;\text{where}\; x_i = y, \;\text{else}\; 0",
                "Only the extreme element moves the result; where m are equal, each gets the m-th part.",
            )
        }
        Op::Var => plain(
            "torch.var",
            r"y = \frac{1}{n - c} \sum_i (x_i - \mu)^2",
            r"\bar x_i = \bar y\,\frac{2\,(x_i - \mu)}{n - c}",
            r"The slope through the mean is $-\frac{2}{n-c}\sum_j (x_j - \mu)/n$, and those distances add up to 0: only the direct part is left.",
        ),
        _ => plain(
            "torch.logsumexp",
            r"y = \ln \sum_i e^{x_i}",
            r"\bar x_i = \bar y\,e^{x_i - y}",
            SHARES,
        ),
    }
}

fn product(op: Op) -> Note {
    match op {
        Op::Matmul => plain(
            "torch.matmul",
            r"Y = A B",
            r"\bar A = \bar Y B^\top, \quad \bar B = A^\top \bar Y",
            r"$y_{ij} = \sum_k a_{ik} b_{kj}$, so $a_{ik}$ moves every $y_{ij}$ of its row by $b_{kj}$: $\bar a_{ik} = \sum_j \bar y_{ij} b_{kj}$, which is a product again. The same for B by columns.",
        )
        .keeps("Each matrix is the other's slope. A training step is therefore three products for one of inference."),
        Op::Linear => plain(
            "torch.nn.functional.linear",
            r"Y = X W^\top + b",
            r"\bar X = \bar Y W, \quad \bar W = \bar Y^\top X, \quad \bar b = \sum_{\text{rows}} \bar Y",
            r"A product with $B = W^\top$; the bias is broadcast over the rows, so its gradient is their sum.",
        ),
        Op::LinearGelu => plain(
            "gelu(linear(x, w, b))",
            r"Y = \operatorname{GELU}(Z), \quad Z = X W^\top + b",
            r"\bar Z = \bar Y\,(\Phi(Z) + Z\,\varphi(Z)), \quad \bar X = \bar Z W, \quad \bar W = \bar Z^\top X, \quad \bar b = \sum_{\text{rows}} \bar Z",
            "The chain rule through GELU, then the rule of a linear layer. Forward it is one pass: the activation is applied while a tile of Z is in the cache.",
        ),
        _ => plain(
            "torch.cat([linear(x, w, b), …], -1)",
            r"Y = (X W_1^\top + b_1 \mid X W_2^\top + b_2 \mid \dots)",
            r"\bar X = \textstyle\sum_i \bar Y_i W_i, \quad \bar W_i = \bar Y_i^\top X, \quad \bar b_i = \sum_{\text{rows}} \bar Y_i",
            "Several linear layers read the same X, so its gradient is the sum of theirs. One product does all of them: query, key and value of attention.",
        ),
    }
}

fn softmax(op: Op) -> Note {
    match op {
        Op::Softmax => plain(
            "torch.softmax",
            r"y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}",
            r"\bar x_i = y_i\left(\bar y_i - \sum_j \bar y_j y_j\right)",
            r"$\partial y_j / \partial x_i = y_j(\delta_{ij} - y_i)$: raising $x_i$ raises its own share and lowers all others in proportion. Summed with the gradients, that is the line above. The gradients of a row add up to 0, because adding one number to all $x$ changes nothing.",
        )
        .keeps("The slopes are functions of the output."),
        Op::LogSoftmax => plain(
            "torch.log_softmax",
            r"y_i = x_i - \ln \sum_j e^{x_j}",
            r"\bar x_i = \bar y_i - e^{y_i} \sum_j \bar y_j",
            SHARES,
        )
        .keeps("The softmax is the exponential of the output."),
        _ => plain(
            "torch.nn.functional.cross_entropy",
            r"\ell = -\frac1n \sum_r \ln p_{r, t_r}, \quad p = \operatorname{softmax}(x)",
            r"\bar x_{r, i} = \frac{\bar\ell}{n}\,(p_{r, i} - [i = t_r])",
            r"$-\ln p_t = \ln\sum_j e^{x_j} - x_t$. The first term's slope is the softmax, the second's is −1 at the target: *what the model says minus what is true*.",
        )
        .by("label smoothing: Szegedy et al., arXiv:1512.00567")
        .keeps("The logits and one number a row, ln Σeˣ; the probabilities are made again in backward."),
    }
}

fn norm(op: Op) -> Note {
    const LAYER: &str =
        r"y = \hat x\,w + b, \quad \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}";
    const LAYER_BACK: &str = r"\bar x = \frac{1}{\sqrt{\sigma^2 + \varepsilon}}\left(g - \operatorname{mean}(g) - \hat x\,\operatorname{mean}(g\,\hat x)\right), \quad g = \bar y\,w, \quad \bar w = \sum_{\text{rows}} \bar y\,\hat x, \quad \bar b = \sum_{\text{rows}} \bar y";
    const LAYER_WHY: &str = "The row moves its own mean and its own variance. The two subtracted means are those ways: what would shift the whole row, and what would stretch it, has no effect on the result, so it is taken out of the gradient.";
    const RMS_BACK: &str = r"\bar x = \frac1r\left(g - \hat x\,\operatorname{mean}(g\,\hat x)\right), \quad g = \bar y\,w, \quad \bar w = \sum_{\text{rows}} \bar y\,\hat x";
    const RMS_WHY: &str = "As layer norm, without a mean: only what would stretch the row is taken out of the gradient.";
    const SUM: &str = "The sum is what the norm works on, so it stands for both of its terms; the dropout's mask is drawn again.";
    match op {
        Op::LayerNorm => plain("torch.nn.functional.layer_norm", LAYER, LAYER_BACK, LAYER_WHY)
            .by("Ba, Kiros & Hinton, arXiv:1607.06450"),
        Op::RmsNorm => plain(
            "torch.nn.functional.rms_norm",
            r"y = \hat x\,w, \quad \hat x = x / r, \quad r = \sqrt{\operatorname{mean}(x^2) + \varepsilon}",
            RMS_BACK,
            RMS_WHY,
        )
        .by("Zhang & Sennrich, arXiv:1910.07467"),
        Op::DropoutAddLayerNorm => plain(
            "layer_norm(dropout(x) + r)",
            r"y = \operatorname{layernorm}(s), \quad s = \operatorname{dropout}(x) + r",
            r"\bar s \;\text{as layer norm's}, \quad \bar r = \bar s, \quad \bar x = \operatorname{dropout}(\bar s)",
            "Layer norm's rule gives the gradient of the sum; a sum hands it to both terms, and dropout lets through what it let through forward. One pass each way, where three operations would make nine.",
        )
        .by("Ba, Kiros & Hinton, arXiv:1607.06450")
        .keeps(SUM),
        _ => plain(
            "rms_norm(dropout(x) + r)",
            r"y = \operatorname{rmsnorm}(s), \quad s = \operatorname{dropout}(x) + r",
            r"\bar s \;\text{as RMS norm's}, \quad \bar r = \bar s, \quad \bar x = \operatorname{dropout}(\bar s)",
            "RMS norm's rule gives the gradient of the sum; a sum hands it to both terms.",
        )
        .by("Zhang & Sennrich, arXiv:1910.07467")
        .keeps(SUM),
    }
}

fn layer(op: Op) -> Note {
    const ATTENTION: &str =
        r"Y = P V, \quad P = \operatorname{softmax}(S), \quad S = \tfrac{1}{\sqrt d}\,Q K^\top + B";
    const ATTENTION_BACK: &str = r"\bar V = P^\top \bar Y, \quad \bar P = \bar Y V^\top, \quad \bar S = P \odot (\bar P - \operatorname{rowsum}(\bar P \odot P)), \quad \bar Q = \tfrac{1}{\sqrt d}\,\bar S K, \quad \bar K = \tfrac{1}{\sqrt d}\,\bar S^\top Q";
    const ATTENTION_WHY: &str = "Two products and a softmax, each with its own rule. The row sum equals that of Ȳ⊙Y; the kernels sum P̄⊙P, because they have both and Y is not kept.";
    const ATTENTION_KEEPS: &str = "Q, K, V and one number for each row and head, ln Σeˢ. P has the size tokens × tokens and is never stored: backward makes it again, block by block.";
    match op {
        Op::Attention => plain("torch.nn.functional.scaled_dot_product_attention", ATTENTION, ATTENTION_BACK, ATTENTION_WHY)
            .by("Vaswani et al., arXiv:1706.03762; in blocks: Dao et al., arXiv:2205.14135")
            .keeps(ATTENTION_KEEPS),
        Op::AttentionQkvPacked => plain("flash_attn_varlen_qkvpacked_func", ATTENTION, ATTENTION_BACK, ATTENTION_WHY)
            .by("Vaswani et al., arXiv:1706.03762; in blocks: Dao et al., arXiv:2205.14135")
            .keeps(ATTENTION_KEEPS),
        Op::RotaryEmbedding => plain(
            "apply_rotary_pos_emb",
            r"\binom{y_1}{y_2} = \begin{pmatrix}\cos\alpha & -\sin\alpha\\ \sin\alpha & \cos\alpha\end{pmatrix}\binom{x_1}{x_2}, \quad \alpha = t\,\theta_i",
            r"\bar x = \bar y \;\text{rotated by}\; -\alpha",
            "A rotation's transpose is the rotation back.",
        )
        .by("Su et al., arXiv:2104.09864"),
        Op::Glu => plain(
            "torch.nn.functional.glu (with σ)",
            r"y = f(a)\,b",
            r"\bar a = \bar y\,b\,f'(a), \quad \bar b = \bar y\,f(a)",
            "The product rule on the two halves.",
        )
        .by("Dauphin et al., arXiv:1612.08083; Shazeer, arXiv:2002.05202"),
        _ => plain(
            "torch.nn.functional.dropout",
            r"y = \frac{m\,x}{1 - p}, \quad m \in \{0, 1\}",
            r"\bar x = \frac{m\,\bar y}{1 - p}",
            "A product with a mask that is no variable.",
        )
        .by("Srivastava et al., JMLR 15 (2014)")
        .keeps("The mask follows from the seed, the step and the place in the model, so backward draws it again."),
    }
}

fn index(op: Op) -> Note {
    const READ: &str = "Reading by index and adding by index are each other's transposes: an entry that was read twice gets the sum of two gradients.";
    const ADDED: &str = "Adding by index and reading by index are each other's transposes; the base goes through as it is.";
    match op {
        Op::IndexSelect => plain(
            "torch.index_select",
            r"y_r = x_{k_r}",
            r"\bar x_j = \sum_{r:\,k_r = j} \bar y_r",
            READ,
        ),
        Op::Gather => plain(
            "torch.gather",
            r"y_{r, c} = x_{r, k_{r, c}}",
            r"\bar x_{r, j} = \sum_{c:\,k_{r, c} = j} \bar y_{r, c}",
            READ,
        ),
        Op::Embedding => plain(
            "torch.nn.functional.embedding",
            r"y_r = W_{k_r}",
            r"\bar W_j = \sum_{r:\,k_r = j} \bar y_r",
            READ,
        )
        .keeps("The ids, which are no variables. The table itself is not needed."),
        Op::IndexAdd => plain(
            "torch.index_add",
            r"y_j = x_j + \sum_{r:\,k_r = j} s_r",
            r"\bar x = \bar y, \quad \bar s_r = \bar y_{k_r}",
            ADDED,
        ),
        _ => plain(
            "torch.scatter_add",
            r"y_{r, j} = x_{r, j} + \sum_{c:\,k_{r, c} = j} s_{r, c}",
            r"\bar x = \bar y, \quad \bar s_{r, c} = \bar y_{r, k_{r, c}}",
            ADDED,
        ),
    }
}

fn join(op: Op) -> Note {
    match op {
        Op::Cat => plain("torch.cat", r"y = (x_1 \mid x_2 \mid \dots)", r"\bar x_i = \text{its part of}\; \bar y", MOVED),
        Op::PadZeros => plain(
            "torch.nn.functional.pad",
            r"y = (0 \mid x \mid 0)",
            r"\bar x = \text{the middle of}\; \bar y",
            "The zeros are constants; the rest is moved, and its gradient moves back.",
        ),
        Op::Flip => plain("torch.flip", r"y_i = x_{n - 1 - i}", r"\bar x_i = \bar y_{n - 1 - i}", MOVED),
        _ => plain(
            "torch.utils.checkpoint.checkpoint",
            r"y = f(x)",
            r"\bar x = f'(x)^\top\,\bar y",
            "The rule runs f again, with a graph this time, and walks back over it. The numbers are those of the first run, \
             because random numbers follow from seed, step and place.",
        )
        .by("Chen et al., arXiv:1604.06174")
        .keeps("But f itself is kept, with the variables that it reads; what is computed inside is not. It costs one more forward pass of f."),
    }
}

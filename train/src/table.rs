//! The numbers of a finished run as a table.

use gradus_models::evaluation::{Evaluation, LOSS, Metric};

/// The sets of the table, in columns: a name, the step of the model, the numbers.
type Column<'a> = (&'static str, u64, &'a Evaluation);

/// A table of evaluations.
pub struct Table<'a> {
    columns: Vec<Column<'a>>,
    rows: Vec<(String, Vec<String>)>,
}

impl<'a> Table<'a> {
    /// Every metric, and the loss, of every column. `decides` chooses the best model; `of` is what an
    /// evaluation counts.
    pub fn new(columns: Vec<Column<'a>>, metrics: &[Metric], decides: &Metric, of: &str) -> Self {
        let loss = Metric::number(LOSS, LOSS);
        let with_loss = metrics.iter().filter(|metric| metric.name != LOSS).chain([&loss]);
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        for metric in with_loss {
            let value = |(_, _, result): &Column| result.get(metric.name);
            if columns.iter().all(|column| value(column).is_none()) {
                continue;
            }
            let mark =
                if metric.name == decides.name && columns.len() > 1 { " (decides)" } else { "" };
            let show = |column| value(column).map_or("-".into(), |value| metric.show(value));
            rows.push((format!("{}{mark}", metric.title), columns.iter().map(show).collect()));
        }
        let count = |(_, _, result): &Column| result.examples.to_string();
        rows.push((of.to_string(), columns.iter().map(count).collect()));
        Table { columns, rows }
    }

    /// The lines of the table. Where it is wider than `width` columns, each column becomes a table of
    /// its own below the one before.
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        let wide = self.in_columns();
        if fits(&wide, width) { wide } else { self.one_by_one() }
    }

    fn in_columns(&self) -> Vec<String> {
        let mut all = vec![(String::new(), self.names(|name, _| name.to_string()))];
        all.push(("model of step".into(), self.names(|_, step| step.to_string())));
        all.extend(self.rows.iter().cloned());
        aligned(&all)
    }

    fn names(&self, of: impl Fn(&str, u64) -> String) -> Vec<String> {
        self.columns.iter().map(|(name, step, _)| of(name, *step)).collect()
    }

    fn one_by_one(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (i, (name, step, _)) in self.columns.iter().enumerate() {
            lines.push(format!("{name}, step {step}"));
            let rows =
                self.rows.iter().map(|(title, values)| (title.clone(), vec![values[i].clone()]));
            let rows: Vec<_> = rows.collect();
            lines.extend(aligned(&rows).into_iter().map(|line| format!("  {line}")));
        }
        lines
    }
}

/// Whether no line is wider than `width` columns.
pub fn fits(lines: &[String], width: Option<usize>) -> bool {
    width.is_none_or(|width| lines.iter().all(|line| line.chars().count() <= width))
}

/// Rows of a title and values, the titles to the left, the values to the right.
pub fn aligned(rows: &[(String, Vec<String>)]) -> Vec<String> {
    let length = |text: &String| text.chars().count();
    let titles = rows.iter().map(|(title, _)| length(title)).max().unwrap_or(0);
    let columns = rows.first().map_or(0, |(_, values)| values.len());
    let widest = |i: usize| rows.iter().map(|(_, values)| length(&values[i])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |(title, values): &(String, Vec<String>)| {
        let cells = values.iter().zip(&widths).map(|(value, width)| format!("  {value:>width$}"));
        format!("{title:titles$}{}", cells.collect::<String>()).trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_narrow_where_it_must() {
        let of = |f1, loss| Evaluation::new(40, loss, [("f1", f1)]);
        let (best, test) = (of(0.5, 1.0), of(0.1234, 0.25));
        let metrics = [Metric::percent("f1", "F1"), Metric::percent("recall", "recall")];
        let columns = vec![("dev, best", 20, &best), ("test", 20, &test)];
        let table = Table::new(columns, &metrics, &metrics[0], "texts");
        let wide = [
            "               dev, best    test",
            "model of step         20      20",
            "F1 (decides)      50.00%  12.34%",
            "loss              1.0000  0.2500",
            "texts                 40      40",
        ];
        assert_eq!(table.lines(None), wide);
        assert_eq!(table.lines(Some(32)), wide);
        let narrow = [
            "dev, best, step 20",
            "  F1 (decides)  50.00%",
            "  loss          1.0000",
            "  texts             40",
            "test, step 20",
            "  F1 (decides)  12.34%",
            "  loss          0.2500",
            "  texts             40",
        ];
        assert_eq!(table.lines(Some(31)), narrow);
        let empty = Table::new(Vec::new(), &metrics, &metrics[0], "texts");
        assert!(empty.columns.is_empty());
    }
}

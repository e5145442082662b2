//! Which known word a misspelt one was most likely meant to be.

/// The known word that somebody who wrote `given` most likely meant.
pub(super) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned);
    known
        .filter_map(|word| {
            let folded = word.to_ascii_lowercase();
            // What all variables have in common says nothing about how alike two of them are.
            let [ours, theirs] =
                [&given, &folded].map(|word| word.strip_prefix("fleet_mcp_").unwrap_or(word));
            let extends =
                !ours.is_empty() && (ours.starts_with(theirs) || theirs.starts_with(ours));
            let score = match distance(ours, theirs) {
                near if near <= (ours.len() / 3).min(3) => near,
                // `enabled` outside its section is not misspelt but misplaced.
                _ if last(ours) == last(theirs) => 4,
                far if extends => 4 + far,
                _ => return None,
            };
            Some((score, word))
        })
        .min_by_key(|(score, _)| *score)
        .map(|(_, word)| word)
}

/// How many characters to add, drop or replace to make one word the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (diagonal + usize::from(from != to)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            left = best;
            *cell = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

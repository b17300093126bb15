//! Leaves sections out of what `kubectl describe` prints, and says which: all of it is over a thousand lines.

/// Sections of the object that are shown.
const SHOWN: [&str; 3] = ["Name", "Status", "Events"];
/// Sections of its status that are shown.
const SHOWN_OF_STATUS: [&str; 3] = ["Conditions", "Problems", "Summary"];

/// The shown sections, with one line where others were.
pub(crate) fn outline(description: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut left_out: Vec<&str> = Vec::new();
    let mut in_status = false;
    let mut shown = true;
    for line in description.lines() {
        let top = section(line, 0);
        if let Some(name) = top {
            in_status = name == "Status";
            shown = SHOWN.contains(&name);
        }
        let status = if in_status { section(line, 2) } else { None };
        if let Some(name) = status {
            shown = SHOWN_OF_STATUS.contains(&name);
        }
        if shown {
            say_what_was_left_out(&mut left_out, &mut out);
            out.push(line.to_owned());
        } else if let Some(name) = top.or(status) {
            left_out.push(name);
        }
    }
    say_what_was_left_out(&mut left_out, &mut out);
    out.join("\n")
}

fn say_what_was_left_out(names: &mut Vec<&str>, out: &mut Vec<String>) {
    if !names.is_empty() {
        out.push(format!("… ({} left out here)", names.join(", ")));
        names.clear();
    }
}

/// The name of the section that begins on a line with this indentation. A line of a longer text is none.
fn section(line: &str, indentation: usize) -> Option<&str> {
    let text = line.strip_prefix(&" ".repeat(indentation))?;
    let (name, _) = text.split_once(':')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|letter| letter.is_ascii_alphabetic() || letter == ' ')
        && name.split(' ').count() <= 4;
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sections_are_left_out_by_name() {
        let description = "\
Name:         cluster
Labels:       <none>
Metadata:
  Generation:  1
Status:
  Conditions:
    Type:  Ready
  Display:
    Nodes:  3
  Rules:
    Passed:  4
  Summary:  3 of 3 subnets are full
Setting WARM_IP_TARGET=3: frees many
  Totals:
    Nodes:  3
Events:
  Type  Reason";
        assert_eq!(
            outline(description),
            "\
Name:         cluster
… (Labels, Metadata left out here)
Status:
  Conditions:
    Type:  Ready
… (Display, Rules left out here)
  Summary:  3 of 3 subnets are full
Setting WARM_IP_TARGET=3: frees many
… (Totals left out here)
Events:
  Type  Reason"
        );
    }
}

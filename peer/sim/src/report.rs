//! docs/scale.json, and the page and the drawing made from it.
//!
//! **Invariant:** the table and the drawing say nothing that does not stand in the JSON file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::plot::{Curve, Panel, draw};
use crate::scale::{ONE_WAY_MS, Revocation, Scale};

/// Puts the figures of a size into the files of a folder.
///
/// # Errors
/// If they cannot be read or written.
pub fn write(folder: &Path, scale: &Scale) -> Result<()> {
    let mut all = read(folder)?;
    all.insert(scale.nodes, scale.clone());
    let list: Vec<&Scale> = all.values().collect();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("scale.json"), serde_json::to_string_pretty(&list)? + "\n")?;
    draw_again(folder)
}

/// Makes the page and the drawing from the figures that are there.
///
/// # Errors
/// If they cannot be read or written.
pub fn draw_again(folder: &Path) -> Result<()> {
    let all = read(folder)?;
    let list: Vec<&Scale> = all.values().collect();
    std::fs::write(folder.join("scale.md"), page(&list))?;
    std::fs::write(folder.join("scale.svg"), draw(&panels(&list)))?;
    Ok(())
}

/// The tables of what a folder has.
///
/// # Errors
/// If it cannot be read.
pub fn table(folder: &Path) -> Result<String> {
    let all = read(folder)?;
    Ok(tables(&all.values().collect::<Vec<_>>()))
}

/// The figures that a folder has, by the number of nodes.
///
/// # Errors
/// If they cannot be read.
pub fn read(folder: &Path) -> Result<BTreeMap<usize, Scale>> {
    let path = folder.join("scale.json");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&path)?;
    let list: Vec<Scale> =
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    Ok(list.into_iter().map(|scale| (scale.nodes, scale)).collect())
}

fn page(list: &[&Scale]) -> String {
    let sizes: Vec<String> = list.iter().map(|scale| scale.nodes.to_string()).collect();
    let intro = include_str!("page/intro.md").replace("SIZES_RUN", &sizes.join(" "));
    format!("{intro}\n{}\n{}", tables(list), include_str!("page/reading.md"))
}

fn tables(list: &[&Scale]) -> String {
    [spread_table(list), heal_table(list), standing_table(list)].join("\n")
}

fn spread_table(list: &[&Scale]) -> String {
    let mut text = "\
| nodes | loss | 50 % know, ms | 99 % | 100 % | links closed, ms | frames a node | bytes a node | \
most bytes |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for scale in list {
        for r in &scale.revocations {
            let _ = writeln!(
                text,
                "| {} | {} % | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} |",
                scale.nodes,
                r.loss_percent,
                r.p50_ms,
                r.p99_ms,
                r.p100_ms,
                r.closed_ms,
                r.frames_each,
                r.bytes_each,
                r.bytes_most,
            );
        }
    }
    text
}

fn heal_table(list: &[&Scale]) -> String {
    let mut text = "\
| nodes | halves apart, s | after the heal 50 % know, ms | 99 % | 100 % |\n|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for scale in list {
        let p = &scale.partition;
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} |",
            scale.nodes,
            p.lasted_ms / 1000.0,
            p.p50_ms,
            p.p99_ms,
            p.p100_ms
        );
    }
    text
}

fn standing_table(list: &[&Scale]) -> String {
    let mut text = "\
| nodes | connected after, s | links a node (least–most) | nodes known | memory a node, KiB | \
idle bytes/s (most) | idle CPU, % of a core |\n|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for scale in list {
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} ({:.0}–{:.0}) | {:.0} | {:.0} | {:.0} ({:.0}) | {:.3} |",
            scale.nodes,
            scale.connected_ms / 1000.0,
            scale.links.mean,
            scale.links.min,
            scale.links.max,
            scale.known.mean,
            scale.memory_kib,
            scale.idle.bytes_s.mean,
            scale.idle.bytes_s.max,
            scale.idle.cpu_percent,
        );
    }
    text
}

fn curve(label: &str, list: &[&Scale], of: impl Fn(&Scale) -> Option<f64>) -> Curve {
    let point = |scale: &&Scale| Some((scale.nodes as f64, of(scale)?));
    Curve { label: label.to_owned(), points: list.iter().filter_map(point).collect() }
}

fn at_loss(scale: &Scale, loss_percent: u64) -> Option<&Revocation> {
    scale.revocations.iter().find(|r| r.loss_percent == loss_percent)
}

fn panels(list: &[&Scale]) -> Vec<Panel> {
    let panel = |title: &str, unit: &str, curves| Panel {
        title: title.to_owned(),
        unit: unit.to_owned(),
        curves,
    };
    let at_5 = |of: fn(&Revocation) -> f64| move |scale: &Scale| at_loss(scale, 5).map(of);
    let all_at = |loss| move |scale: &Scale| at_loss(scale, loss).map(|r| r.p100_ms);
    vec![
        panel(
            &format!("A revocation, {ONE_WAY_MS} ms links, 5 % loss"),
            "ms",
            vec![
                curve("half of the nodes know", list, at_5(|r| r.p50_ms)),
                curve("99 % know", list, at_5(|r| r.p99_ms)),
                curve("all know", list, at_5(|r| r.p100_ms)),
                curve("its links are closed", list, at_5(|r| r.closed_ms)),
            ],
        ),
        panel(
            "Until all know",
            "ms",
            vec![
                curve("5 % loss", list, all_at(5)),
                curve("10 % loss", list, all_at(10)),
                curve("30 % loss", list, all_at(30)),
                curve("after a heal", list, |scale| Some(scale.partition.p100_ms)),
            ],
        ),
        panel(
            "Bytes sent by a node",
            "bytes",
            vec![
                curve("for a revocation, mean", list, at_5(|r| r.bytes_each)),
                curve("for a revocation, most", list, at_5(|r| r.bytes_most)),
                curve("idle, a second, mean", list, |scale| Some(scale.idle.bytes_s.mean)),
                curve("idle, a second, most", list, |scale| Some(scale.idle.bytes_s.max)),
            ],
        ),
        panel(
            "What a node holds",
            "KiB or count",
            vec![
                curve("memory, KiB", list, |scale| Some(scale.memory_kib)),
                curve("links, mean", list, |scale| Some(scale.links.mean)),
                curve("links, most", list, |scale| Some(scale.links.max)),
                curve("nodes known, mean", list, |scale| Some(scale.known.mean)),
            ],
        ),
    ]
}

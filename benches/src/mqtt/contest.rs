//! The same measured with each engine in turns, and the figures made of it.
//!
//! **Invariant:** a rival that is not installed is named as such; its ratio is not there then.

use anyhow::{Context as _, Result};

use super::engine::{Engine, Stage, Task};
use crate::harness::{Figure, Samples, Side, take_turns};

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Ours,
    Mosquitto,
    Nats,
}

impl Who {
    const fn called(self) -> &'static str {
        match self {
            Self::Ours => "the peer",
            Self::Mosquitto => "Mosquitto 2.0.11",
            Self::Nats => "nats-server 2.9.10",
        }
    }

    /// What is added to the name of a figure that is held against this one.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Nats => ".nats",
            Self::Ours | Self::Mosquitto => "",
        }
    }
}

/// One thing of each engine that takes part.
pub(crate) struct Contest<T> {
    pub(crate) there: Vec<(Who, T)>,
    pub(crate) not_installed: Vec<Who>,
}

impl Contest<Engine> {
    /// The three, carrying messages and nothing else.
    pub(crate) fn start(stage: &Stage) -> Result<Self> {
        Ok(Self::of([
            (Who::Ours, Some(stage.ours(None)?)),
            (Who::Mosquitto, stage.mosquitto(Task::Carry)?),
            (Who::Nats, stage.nats()?),
        ]))
    }
}

impl<T> Contest<T> {
    /// Of those that could be started.
    pub(crate) fn of(found: impl IntoIterator<Item = (Who, Option<T>)>) -> Self {
        let mut contest = Self { there: Vec::new(), not_installed: Vec::new() };
        for (who, thing) in found {
            match thing {
                Some(thing) => contest.there.push((who, thing)),
                None => contest.not_installed.push(who),
            }
        }
        contest
    }

    /// What is there of one.
    pub(crate) fn of_who(&self, who: Who) -> Option<&T> {
        self.there.iter().find(|(found, _)| *found == who).map(|(_, thing)| thing)
    }

    /// Makes something of each that can.
    pub(crate) fn try_map<U>(
        &self,
        mut f: impl FnMut(&T) -> Result<Option<U>>,
    ) -> Result<Contest<U>> {
        let mut contest = Contest { there: Vec::new(), not_installed: self.not_installed.clone() };
        for (who, thing) in &self.there {
            let made = f(thing).with_context(|| who.called())?;
            contest.there.extend(made.map(|made| (*who, made)));
        }
        Ok(contest)
    }

    /// Lets them take turns.
    pub(crate) fn take_turns(
        &mut self,
        rounds: usize,
        round: impl Fn(&mut T) -> Result<f64>,
    ) -> Result<Contest<Samples>> {
        let round = &round;
        let side = |(who, thing)| -> Side<'_> {
            let (who, thing): (&mut Who, &mut T) = (who, thing);
            Box::new(move || round(thing).with_context(|| who.called()))
        };
        let mut sides: Vec<Side<'_>> =
            self.there.iter_mut().map(|(who, thing)| side((who, thing))).collect();
        let samples = take_turns(rounds, &mut sides)?;
        drop(sides);
        let there = self.there.iter().map(|(who, _)| *who).zip(samples).collect();
        Ok(Contest { there, not_installed: self.not_installed.clone() })
    }
}

impl Contest<Samples> {
    /// `NAME` against Mosquitto, `NAME.nats` against NATS. A remark stands behind a rival's name.
    pub(crate) fn figures(
        &self,
        base: &Figure,
        remark: impl Fn(Who) -> String,
    ) -> Result<Vec<Figure>> {
        let ours = self.of_who(Who::Ours).context("ours was not measured")?;
        let mut figures = Vec::new();
        for rival in [Who::Mosquitto, Who::Nats] {
            let mut figure = base.clone();
            figure.name += rival.suffix();
            let what = format!("{}{} ({})", rival.called(), remark(rival), base.unit);
            if let Some(theirs) = self.of_who(rival) {
                figures.push(figure.against(&what, ours, theirs));
            } else if self.not_installed.contains(&rival) {
                figure.against = format!("{} is not installed here", rival.called());
                figures.push(figure);
            }
        }
        Ok(figures)
    }
}

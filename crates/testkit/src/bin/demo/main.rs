//! The incident, live: three full subnets on a real control plane, and the operator that says why and what to do.

mod describe;
mod screen;
mod stage;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use ipam_audit_testkit::controlplane::Binaries;
use ipam_audit_testkit::operator;
use tokio::signal::unix::{SignalKind, signal};

use screen::Screen;
use stage::Stage;
use table::Rows;

#[derive(Parser)]
#[command(about = "Show IpamAudit at work on a cluster whose subnets are full", version)]
struct Arguments {
    /// Exit at the end instead of staying up until Ctrl-C
    #[arg(long, env = "ONCE", value_parser = clap::builder::FalseyValueParser::new())]
    once: bool,
}

/// What the demo asks, and how.
struct Question {
    asks: &'static str,
    args: &'static [&'static str],
    answer: Answer,
}

/// What kind of text the answer is.
enum Answer {
    Table(Rows),
    Text,
    Description,
}

const QUESTIONS: [Question; 6] = [
    Question {
        asks: "Is the cluster fine? One line answers.",
        args: &["get", "ipamaudits"],
        answer: Answer::Table(Rows::All),
    },
    Question {
        asks: "Why not, and what would help?",
        args: &["get", "ipamaudit", "cluster", "-o", "jsonpath={.status.summary}"],
        answer: Answer::Text,
    },
    Question {
        asks: "Which nodes hold the most addresses that no pod uses? The last ones.",
        args: &["get", "ipnode", "--sort-by=.status.addresses.idle"],
        answer: Answer::Table(Rows::Last(8)),
    },
    Question {
        asks: "Which subnets are full, and what fills them? WARM is what nodes hold and no pod uses.",
        args: &["get", "ipsubnet"],
        answer: Answer::Table(Rows::All),
    },
    Question {
        asks: "What has happened? An event comes when a finding opens, worsens or is resolved, and only then.",
        args: &[
            "get",
            "events",
            "-A",
            "--field-selector=reportingComponent=ipam-audit",
            "-o=custom-columns=REASON:.reason,OBJECT:.involvedObject.name,MESSAGE:.message",
        ],
        answer: Answer::Table(Rows::First(6)),
    },
    Question {
        asks: "And all of it, condition by condition?",
        args: &["describe", "ipamaudit", "cluster"],
        answer: Answer::Description,
    },
];

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let screen = Screen::new();
    let binary = operator::binary()?;
    // Builds before anything listens for signals: until then Ctrl-C simply ends the process and its build.
    Binaries::locate()?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        outcome = show(&screen, binary, arguments.once) => outcome,
        _ = interrupt.recv() => screen.say("\nStopped."),
        _ = terminate.recv() => Ok(()),
    }
}

async fn show(screen: &Screen, binary: PathBuf, once: bool) -> Result<()> {
    screen.say("The incident: \"EKS is out of IPs, but we have so many free addresses\"")?;
    screen.say("")?;
    let mut stage = Stage::set(screen, binary).await?;
    for question in &QUESTIONS {
        screen.headline(question.asks)?;
        screen.command(&format!("kubectl {}", question.args.join(" ")))?;
        let said = stage.plane.kubectl(question.args).await?.stdout_if_successful()?;
        match question.answer {
            Answer::Table(rows) => screen.table(&table::shorten(&said, rows))?,
            Answer::Text => screen.say(&said)?,
            Answer::Description => screen.say(&describe::outline(&said))?,
        }
    }
    if once {
        return Ok(());
    }
    screen.say(&stage.what_to_try()?)?;
    stage.stay_up().await
}

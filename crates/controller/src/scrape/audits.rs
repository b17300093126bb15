//! What the audits found: of the whole cluster, of each subnet, and of each node where that was asked for.
//!
//! The figures that the CNI's own metrics helper adds up over a cluster are here for all three.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ipam_audit_core::forecast::Exhaustion;

use super::out::{Labels, Out};
use crate::{
    metrics::{Addresses, AuditFigures, Figures, Holding, NodeFigures, SubnetFigures},
    poll::Forecasts,
};

/// When the subnets that each audit reads will be exhausted.
type ByAudit = BTreeMap<String, Arc<Forecasts>>;

/// Writes the series of every audit.
pub(super) fn write(out: &mut Out<'_, '_>, audits: &Figures, forecasts: &ByAudit) -> fmt::Result {
    Audits(audits).write(out, forecasts)
}

struct Audits<'a>(&'a Figures);

/// One of a holding's figures.
type OfHolding = fn(&Holding) -> Option<u32>;

/// The figures that a cluster, a subnet and a node have: the end of the name, the figure, and what it is.
const HOLDINGS: [(&str, OfHolding, &str); 5] = [
    ("interfaces", |held| held.interfaces, "Interfaces of nodes"),
    ("interface_slots", |held| held.interface_slots, "Interfaces that the instance types of nodes allow"),
    ("capacity_pods", |held| held.capacity_pods, "Pods that can have an address of the nodes' pools at all"),
    ("held_addresses", Holding::held, "Addresses that nodes hold for pods, used or not"),
    ("prefixes", |held| held.addresses.map(|of| of.prefixes), "Prefixes of 16 addresses that nodes hold"),
];

impl Audits<'_> {
    fn write(&self, out: &mut Out<'_, '_>, forecasts: &ByAudit) -> fmt::Result {
        self.audits(out)?;
        self.cluster(out)?;
        self.subnets(out)?;
        self.exhaustion(out, forecasts)?;
        self.nodes(out)
    }

    fn audits(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds is less than 2^52")]
        let finished = self.each().map(|(audit, of)| (audit, of.finished.as_millisecond() as f64 / 1000.0));
        let finished = finished.map(|(audit, at)| ([("audit", audit)], at));
        out.gauge("ipam_audit_last_success_timestamp_seconds", "When the last audit finished", finished)?;
        let findings = self.each().flat_map(|(audit, of)| {
            let labels = move |code, severity| [("audit", audit), ("code", code), ("severity", severity)];
            of.findings.iter().map(move |((code, severity), count)| (labels(*code, *severity), f64::from(*count)))
        });
        out.gauge("ipam_audit_findings", "Open findings", findings)?;
        let of = |figure: fn(&AuditFigures) -> Option<u32>| {
            self.each().filter_map(move |(audit, of)| Some(([("audit", audit)], figure(of)?.into())))
        };
        out.gauge("ipam_audit_waiting_pods", "Pods that wait for an address", of(|of| of.waiting_pods))?;
        let idle = of(|of| of.idle_addresses);
        out.gauge("ipam_audit_idle_addresses", "Pod addresses that nodes hold and no pod has", idle)?;
        let leaked = of(|of| of.leaked_addresses);
        out.gauge("ipam_audit_leaked_addresses", "Addresses on interfaces that nobody will clean up", leaked)?;
        let slots = of(|of| of.held.empty_slots());
        out.gauge("ipam_audit_empty_interface_slots", "Interfaces that could be attached to nodes yet", slots)
    }

    fn cluster(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let nodes = self.each().flat_map(|(audit, of)| {
            let categories = [
                ("total", of.categories.total),
                ("in-deficit", of.categories.in_deficit),
                ("at-capacity", of.categories.at_capacity),
                ("unknown", of.categories.unknown),
            ];
            let series = move |(category, count): (&'static str, Option<u32>)| {
                Some(([("audit", audit), ("category", category)], count?.into()))
            };
            categories.into_iter().filter_map(series)
        });
        out.gauge("ipam_audit_nodes", "Nodes, by how they are off for addresses", nodes)?;
        let states = self.each().flat_map(|(audit, of)| {
            let states = of.held.addresses.into_iter().flat_map(Addresses::by_state);
            states.map(move |(state, count)| ([("audit", audit), ("state", state)], count.into()))
        });
        out.gauge("ipam_audit_cluster_addresses", "Addresses of nodes, by what became of them", states)?;
        for (name, figure, help) in HOLDINGS {
            let series = self.each().filter_map(|(audit, of)| Some(([("audit", audit)], figure(&of.held)?.into())));
            out.gauge(&format!("ipam_audit_cluster_{name}"), help, series)?;
        }
        Ok(())
    }

    fn subnets(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let available = self.of_subnets(|subnet| Some(subnet.free.into()));
        out.gauge(
            "ipam_audit_subnet_available_addresses",
            "Free addresses of a subnet, as EC2 counts them",
            available,
        )?;
        let total = self.of_subnets(|subnet| Some(subnet.usable?.into()));
        out.gauge("ipam_audit_subnet_total_addresses", "Addresses of a subnet, AWS' own five left out", total)?;
        let bounds = self.each_subnet().flat_map(|(labels, subnet)| {
            let bounds = [("lower", subnet.free_prefixes_min), ("upper", subnet.free_prefixes)];
            let series = move |(bound, count): (&'static str, Option<u32>)| {
                Some((with(labels, ("bound", bound)), count?.into()))
            };
            bounds.into_iter().filter_map(series)
        });
        let help =
            "Whole free blocks of 16 addresses: as if whatever is invisible broke one each, and as if it broke none";
        out.gauge("ipam_audit_subnet_free_prefixes", help, bounds)?;
        #[expect(clippy::cast_precision_loss, reason = "a subnet has less than 2^17 addresses")]
        let classes = self.each_subnet().flat_map(|(labels, subnet)| {
            subnet.by_class().map(move |(class, count)| (with(labels, ("class", class)), count as f64))
        });
        let help = "Addresses of a subnet that are not free, by who has them; with the free ones they are its total";
        out.gauge("ipam_audit_subnet_addresses", help, classes)?;
        let idle = self.of_subnets(|subnet| Some(subnet.idle()?.into()));
        out.gauge("ipam_audit_subnet_idle_addresses", "Addresses that nodes hold there and no pod has", idle)?;
        for (name, figure, help) in HOLDINGS {
            let series = self.each_subnet();
            let series = series.filter_map(|(labels, subnet)| Some((labels, figure(&subnet.held)?.into())));
            out.gauge(&format!("ipam_audit_subnet_{name}"), help, series)?;
        }
        Ok(())
    }

    fn exhaustion(&self, out: &mut Out<'_, '_>, forecasts: &ByAudit) -> fmt::Result {
        let times = self.each_subnet().flat_map(|(labels, subnet)| {
            let [(_, audit), ..] = labels;
            let forecast = forecasts.get(audit).and_then(|of| of.get(&subnet.id)).copied();
            let times = forecast.into_iter().flat_map(Exhaustion::by_quantile);
            times.map(move |(quantile, seconds)| (with(labels, ("quantile", quantile)), seconds))
        });
        let help = "Time until a subnet has no free address if it goes on as in the last day, at a steep, the median and \
            a flat pace";
        out.gauge("ipam_audit_subnet_exhaustion_seconds", help, times)
    }

    fn nodes(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let states = self.each_node().flat_map(|(labels, node)| {
            let states = node.held.addresses.into_iter().flat_map(Addresses::by_state);
            states.map(move |(state, count)| (with(labels, ("state", state)), count.into()))
        });
        out.gauge("ipam_audit_node_addresses", "Addresses of a node, by what became of them", states)?;
        let waiting = self.each_node();
        let waiting = waiting.filter_map(|(labels, node)| Some((labels, node.waiting_pods?.into())));
        out.gauge("ipam_audit_node_waiting_pods", "Pods of a node that wait for an address", waiting)?;
        for (name, figure, help) in HOLDINGS {
            let series = self.each_node();
            let series = series.filter_map(|(labels, node)| Some((labels, figure(&node.held)?.into())));
            out.gauge(&format!("ipam_audit_node_{name}"), help, series)?;
        }
        Ok(())
    }

    fn each(&self) -> impl Iterator<Item = (&str, &AuditFigures)> {
        self.0.iter().map(|(audit, figures)| (audit.as_str(), Arc::as_ref(figures)))
    }

    fn each_subnet(&self) -> impl Iterator<Item = (Labels<'_, 3>, &SubnetFigures)> {
        self.each().flat_map(|(audit, of)| {
            of.subnets.iter().map(move |subnet| {
                ([("audit", audit), ("subnet", subnet.id.as_str()), ("zone", subnet.zone.as_str())], subnet)
            })
        })
    }

    fn of_subnets(&self, figure: impl Fn(&SubnetFigures) -> Option<f64>) -> impl Iterator<Item = (Labels<'_, 3>, f64)> {
        self.each_subnet().filter_map(move |(labels, subnet)| Some((labels, figure(subnet)?)))
    }

    fn each_node(&self) -> impl Iterator<Item = (Labels<'_, 2>, &NodeFigures)> {
        self.each().flat_map(|(audit, of)| {
            of.nodes.iter().map(move |node| ([("audit", audit), ("node", node.name.as_str())], node))
        })
    }
}

/// Labels and one more.
trait OneMore<'l> {
    type More;

    fn and(self, label: (&'l str, &'l str)) -> Self::More;
}

impl<'l> OneMore<'l> for Labels<'l, 2> {
    type More = Labels<'l, 3>;

    fn and(self, label: (&'l str, &'l str)) -> Labels<'l, 3> {
        let [first, second] = self;
        [first, second, label]
    }
}

impl<'l> OneMore<'l> for Labels<'l, 3> {
    type More = Labels<'l, 4>;

    fn and(self, label: (&'l str, &'l str)) -> Labels<'l, 4> {
        let [first, second, third] = self;
        [first, second, third, label]
    }
}

fn with<'l, L: OneMore<'l>>(labels: L, label: (&'l str, &'l str)) -> L::More {
    labels.and(label)
}

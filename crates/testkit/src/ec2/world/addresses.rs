//! Assigns addresses and prefixes to interfaces and takes them away.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::error::ApiError;
use super::super::seed::{Assigned, InterfaceKind};
use super::World;

impl World {
    /// Adds secondary addresses, of the caller's or the simulator's choice; gives the new ones.
    pub(crate) fn assign_addresses(&mut self, id: &str, wish: &Assigned<Ipv4Addr>) -> Result<Vec<Ipv4Addr>, ApiError> {
        let (subnet, more) = self.prepare(id, wish)?;
        self.check_more(self.interface(id)?, more)?;
        let slot = self.subnet_mut(&subnet)?;
        let mut book = slot.book.clone();
        let new = match wish {
            Assigned::Count(count) => book.choose(*count).map_err(|refusal| ApiError::no_room(&subnet, refusal))?,
            Assigned::List(list) => {
                for address in list {
                    book.take(*address).map_err(|refusal| ApiError::named(address, refusal))?;
                }
                list.clone()
            }
        };
        slot.book = book;
        self.interface_mut(id)?.secondary.extend(&new);
        Ok(new)
    }

    /// Adds /28 prefixes; gives the new ones.
    pub(crate) fn assign_prefixes(&mut self, id: &str, wish: &Assigned<Ipv4Net>) -> Result<Vec<Ipv4Net>, ApiError> {
        let (subnet, more) = self.prepare(id, wish)?;
        self.check_more(self.interface(id)?, more)?;
        let slot = self.subnet_mut(&subnet)?;
        let mut book = slot.book.clone();
        let new = match wish {
            Assigned::Count(count) => {
                book.choose_prefixes(*count).map_err(|refusal| ApiError::no_room(&subnet, refusal))?
            }
            Assigned::List(list) => {
                for prefix in list {
                    book.take_prefix(*prefix).map_err(|refusal| ApiError::named(prefix, refusal))?;
                }
                list.clone()
            }
        };
        slot.book = book;
        self.interface_mut(id)?.prefixes.extend(&new);
        Ok(new)
    }

    fn prepare<T>(&self, id: &str, wish: &Assigned<T>) -> Result<(String, usize), ApiError> {
        let interface = self.interface(id)?;
        if interface.kind == InterfaceKind::EfaOnly {
            return Err(ApiError::value("an efa-only interface has no addresses"));
        }
        let more = match wish {
            Assigned::Count(count) => *count as usize,
            Assigned::List(list) => list.len(),
        };
        Ok((interface.subnet.clone(), more))
    }

    /// Takes secondary addresses and prefixes away, all or none.
    pub(crate) fn unassign(&mut self, id: &str, addresses: &[Ipv4Addr], prefixes: &[Ipv4Net]) -> Result<(), ApiError> {
        let interface = self.interface_mut(id)?;
        let strange = addresses.iter().find(|one| !interface.secondary.contains(one)).map(ToString::to_string);
        let strange =
            strange.or_else(|| prefixes.iter().find(|one| !interface.prefixes.contains(one)).map(ToString::to_string));
        if let Some(strange) = strange {
            return Err(ApiError::value(format!("{strange} is not a secondary address or prefix of {id}")));
        }
        interface.secondary.retain(|one| !addresses.contains(one));
        interface.prefixes.retain(|one| !prefixes.contains(one));
        let subnet = interface.subnet.clone();
        let book = &mut self.subnet_mut(&subnet)?.book;
        for address in addresses {
            book.release(*address);
        }
        for prefix in prefixes {
            book.release_prefix(*prefix);
        }
        Ok(())
    }
}

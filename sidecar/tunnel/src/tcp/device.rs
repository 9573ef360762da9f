//! The network card that the TCP library thinks it has: one packet in, and a row of packets out.

use std::collections::VecDeque;

use smoltcp::{
    phy::{self, DeviceCapabilities, Medium},
    time::Instant,
};

/// Packets in and out.
#[derive(Debug)]
pub(crate) struct Device {
    mtu: usize,
    pub(crate) arrived: Option<Vec<u8>>,
    pub(crate) leaving: VecDeque<Vec<u8>>,
}

impl Device {
    pub(crate) fn new(mtu: u16) -> Self {
        Self { mtu: mtu.into(), arrived: None, leaving: VecDeque::new() }
    }
}

/// A packet that came.
#[derive(Debug)]
pub(crate) struct Arriving(Vec<u8>);

/// Room for a packet that goes.
#[derive(Debug)]
pub(crate) struct Leaving<'d>(&'d mut VecDeque<Vec<u8>>);

impl phy::Device for Device {
    type RxToken<'a> = Arriving;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arriving, Leaving<'_>)> {
        self.arrived.take().map(|packet| (Arriving(packet), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

impl phy::RxToken for Arriving {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let written = write(&mut packet);
        self.0.push_back(packet);
        written
    }
}

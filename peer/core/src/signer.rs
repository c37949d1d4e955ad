//! The node's own key, for presences, broadcasts, receipts and link states; replaced
//! when its certificate is renewed.

use shared::key::{KeyError, PrivateKey};
use shared::link_state::LinkState;
use shared::name::NetworkName;
use shared::presence::Presence;
use shared::receipt::Receipt;
use shared::wire::Spoken;

/// Signs what a node says of itself.
pub struct Signer {
    network: NetworkName,
    key: PrivateKey,
    chain: Vec<Vec<u8>>,
}

impl Signer {
    /// A signer with a key and its chain, leaf first.
    #[must_use]
    pub const fn new(network: NetworkName, key: PrivateKey, chain: Vec<Vec<u8>>) -> Self {
        Self { network, key, chain }
    }

    pub(crate) fn sign(&self, presence: &Presence) -> Result<Vec<u8>, KeyError> {
        let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
        presence.sign(&self.network, &self.key, &chain)
    }

    /// A broadcast travels without the chain: whoever hears it has our presence.
    pub(crate) fn sign_broadcast(&self, spoken: &Spoken) -> Result<Vec<u8>, KeyError> {
        spoken.sign(&self.network, &self.key)
    }

    /// Signs whom the node is linked with and what it wants.
    ///
    /// # Errors
    /// [`KeyError`] if the key gives no signature.
    pub fn sign_link_state(&self, state: &LinkState) -> Result<Vec<u8>, KeyError> {
        let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
        state.sign(&self.network, &self.key, &chain)
    }

    /// The network that its signatures are for.
    #[must_use]
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    pub(crate) fn sign_receipt(&self, receipt: &Receipt) -> Result<Vec<u8>, KeyError> {
        let chain: Vec<&[u8]> = self.chain.iter().map(Vec::as_slice).collect();
        receipt.sign(&self.network, &self.key, &chain)
    }
}

import FunctionPluginKit
import LinuxDevices
import Services

/// How many functions of its own a card makes: what an operator or the configuration wants, when nothing is lost by it.
extension EthernetFunctions {
  /// Gives each card the count that is wanted, if none of its functions is in use. What keeps a card from it is remembered,
  /// and shown with the card. Then what nobody has is taken from the kernel's driver, and what the driver can do is found
  /// out.
  func settleCounts() throws {
    let cards = try cards()
    // While a card is being unplugged it makes no functions. When it is back at its place, that is no answer any more.
    counts.keep(Set(cards.compactMap(\.own?.address)))
    // What one card lacks does not keep the others waiting.
    var failure: (any Error)?
    for card in cards {
      do { try settleCount(of: card) } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  func settleCount(of endNode: String) throws {
    guard let card = try cards().first(where: { $0.id == endNode }) else { return }
    try settleCount(of: card)
  }

  private func settleCount(of card: Card) throws {
    guard let own = card.own else { return }
    if let wanted = card.wantedFunctions {
      settleCount(of: own, wanted: wanted)
      // Functions of which nobody said how many there are to be are somebody else's until a claim gets one.
      try freeUnused(own.endNode)
    } else if !card.sharesFunctions {
      counts.leave(own.address)
    }
    try findSupport(of: ownCard(own.endNode))
  }

  private func settleCount(of card: OwnCard, wanted: UInt32) {
    counts.settle(
      card.address, card.capability, wanted: wanted, holders: holders(of: card),
      prepare: {
        try? SRIOVControl(sysfs).setDriversAutoprobe(true, of: card.address)
        if card.quirks.needsInterfaceUp, !card.link.isUp {
          try route.change(card.link.index, LinkChange { $0.isUp = true })
        }
      }, explain: { PluginError($0).message })
  }

  /// Takes what nobody has from the kernel's driver, so that nothing on this host configures it by itself.
  private func freeUnused(_ endNode: String) throws {
    let card = try ownCard(endNode)
    let holders = holders(of: card)
    for function in card.capability.functions where holders[function.index] == nil {
      guard let driver = function.driver, !DriverBinding.isVFIO(driver) else { continue }
      try table.remember(driver: driver, of: endNode)
      try binding.unbind(function.address)
    }
  }

  func functionCount(of card: Card, _ own: OwnCard) -> FunctionCount {
    FunctionCount {
      $0.maximum = own.capability.total
      $0.present = own.capability.count
      $0.settable = card.isCountSettable
      $0.ordered = card.orderedFunctions
      $0.wanted = card.wantedFunctions
      $0.functionDriver = functionDriver(of: own) ?? ""
      ($0.held, $0.message) = counts.standing(
        of: own.address, wanted: $0.wanted, present: $0.present, holders: holders(of: own))
    }
  }
}

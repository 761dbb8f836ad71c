import FunctionPluginKit
import LinuxDevices
import Services

/// How many functions of its own a card makes: what the configuration wants, when nothing is lost by it.
extension EthernetFunctions {
  /// Gives each card the count that the configuration wants, if none of its functions is in use. What keeps a card from it
  /// is remembered, and shown with the card. Then what nobody has is taken from the kernel's driver, and what the driver
  /// can do is found out.
  func settleCounts() throws {
    let cards = try cards()
    // While a card is being unplugged it makes no functions. When it is back at its place, that is no answer any more.
    counts.keep(Set(cards.compactMap(\.own?.address)))
    for card in cards {
      guard let own = card.own else { continue }
      if let wanted = card.selection.virtualFunctions { settleCount(of: own, wanted: wanted) }
      // Functions that the configuration does not name are somebody else's until a claim gets one.
      if card.selection.virtualFunctions != nil { try freeUnused(own.endNode) }
      try findSupport(of: ownCard(own.endNode))
    }
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

  func functionCount(of card: OwnCard, wanted: UInt32?) -> FunctionCount {
    FunctionCount {
      $0.maximum = card.capability.total
      $0.present = card.capability.count
      $0.wanted = wanted
      $0.functionDriver = functionDriver(of: card) ?? ""
      guard let wanted, wanted != card.capability.count else { return }
      $0.held = holders(of: card).sorted { $0.key < $1.key }.map(\.value)
      $0.message = counts.message(of: card.address) ?? ""
    }
  }
}

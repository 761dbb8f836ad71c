import FunctionPluginKit
import LinuxDevices
import Services
import Synchronization

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
    let found = CountMemory.Attempt(wanted: wanted, found: card.capability.count, holders: [])
    guard card.capability.count != wanted else { return counts.forget(card.address) }
    do {
      let holders = holders(of: card).sorted { $0.key < $1.key }.map(\.value)
      let attempt = CountMemory.Attempt(wanted: wanted, found: card.capability.count, holders: holders)
      // What the driver answered once, it answers again; each time takes seconds.
      guard counts.attempt(of: card.address) != attempt else { return }
      counts.remember(attempt, nil, of: card.address)
      let change = try plan(wanted, of: card)
      try? SRIOVControl(sysfs).setDriversAutoprobe(true, of: card.address)
      if card.quirks.needsInterfaceUp, !card.link.isUp {
        try route.change(card.link.index, LinkChange { $0.isUp = true })
      }
      let outcome = try SRIOVControl(sysfs).carryOut(change, acceptsFewer: true)
      let fewer = "the driver made \(outcome.count) of the \(wanted) functions that virtualFunctions asks for"
      counts.remember(
        CountMemory.Attempt(wanted: wanted, found: outcome.count, holders: []), outcome.count < wanted ? fewer : nil,
        of: card.address)
    } catch {
      let attempt = counts.attempt(of: card.address) ?? found
      counts.remember(attempt, PluginError(error).message, of: card.address)
    }
  }

  /// What a change would destroy, and whether it may.
  func plan(_ count: UInt32, of card: OwnCard) throws -> SRIOVChange {
    let holders = holders(of: card)
    var named: [PCIAddress: String] = [:]
    for function in card.capability.functions { named[function.address] = holders[function.index] }
    return try SRIOVControl(sysfs).plan(card.address, count: count, holders: named)
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

/// What came of the last change of each card's count.
final class CountMemory: Sendable {
  struct Attempt: Hashable {
    var wanted: UInt32
    var found: UInt32
    var holders: [String]
  }

  private let last = Mutex<[PCIAddress: (attempt: Attempt, message: String?)]>([:])

  func attempt(of card: PCIAddress) -> Attempt? { last.withLock { $0[card]?.attempt } }
  func message(of card: PCIAddress) -> String? { last.withLock { $0[card]?.message } }
  func forget() { last.withLock { $0 = [:] } }
  func keep(_ present: Set<PCIAddress>) { last.withLock { $0 = $0.filter { present.contains($0.key) } } }
  func forget(_ card: PCIAddress) { last.withLock { $0[card] = nil } }

  func remember(_ attempt: Attempt, _ message: String?, of card: PCIAddress) {
    last.withLock { $0[card] = (attempt, message) }
  }
}

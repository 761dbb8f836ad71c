import FunctionPluginKit
import LinuxDevices
import Services

/// Rates of functions used on this host, enforced at the card, where no tenant is: what leaves by an htb class for each
/// source address, what arrives by a tbf behind a redirect of each destination address.
///
/// Class, filter and redirect of a function are found by its MAC address, which is unique on the card.
extension EthernetFunctions {
  /// Our htb, told from others' by its number.
  static let rootHandle = TrafficHandle(major: 0x10f, minor: 0)

  func limitDirect(_ plan: FunctionPlan, on card: Link) throws {
    let mtu = plan.mtu ?? card.mtu
    let address = try plan.grantedAddress()
    try limitTransmission(of: address, to: plan.transmitBitsPerSecond, mtu: mtu, on: card)
    try limitReception(of: address, plan.names, to: plan.receiveBitsPerSecond, mtu: mtu, on: card)
  }

  /// Bits per second; nil: no limit.
  func transmitLimit(of address: MACAddress, on card: Link) throws -> UInt64? {
    guard let handle = try transmitFilter(address, on: card)?.handle else { return nil }
    return try route.classes(of: card.index).first { $0.handle == handle }?.rateBitsPerSecond
  }

  func receiveLimit(of names: FunctionNames) throws -> UInt64? {
    guard let limiter = try route.link(named: names.receiveLimiter) else { return nil }
    return try route.queueingDisciplines(of: limiter.index).lazy.compactMap(\.rateBitsPerSecond).first
  }

  func removeLimits(of address: MACAddress, on card: Link) throws {
    try removeTransmitLimit(of: address, on: card)
    try removeReceiveFilter(of: address, on: card)
  }

  // MARK: What leaves

  private func limitTransmission(of address: MACAddress, to rate: UInt64, mtu: UInt32, on card: Link) throws {
    guard rate > 0 else { return try removeTransmitLimit(of: address, on: card) }
    let parameters = HierarchicalClass(rateBitsPerSecond: rate, mtu: mtu)
    if let (handle, _) = try transmitFilter(address, on: card) {
      return try route.setClass(handle, of: card.index, to: parameters)
    }
    try ensureRoot(on: card)
    let filters = try route.filters(of: card.index, parent: Self.rootHandle)
    let taken = try Set(route.classes(of: card.index).map(\.handle.minor) + filters.map(\.preference))
    guard let number = (1...UInt16(0x7fff)).first(where: { !taken.contains($0) }) else {
      throw PluginError(.resourceExhausted, "\(card.name) has no class left for another rate")
    }
    let handle = TrafficHandle(major: Self.rootHandle.major, minor: number)
    try route.setClass(handle, of: card.index, to: parameters)
    try route.add(
      TrafficFilter(preference: number, match: .source(address), action: .classify(as: handle)), to: card.index,
      parent: Self.rootHandle)
  }

  private func transmitFilter(
    _ address: MACAddress, on card: Link
  ) throws -> (handle: TrafficHandle, preference: UInt16)? {
    for filter in try route.filters(of: card.index, parent: Self.rootHandle) where filter.match == .source(address) {
      if case .classify(let handle) = filter.action { return (handle, filter.preference) }
    }
    return nil
  }

  private func ensureRoot(on card: Link) throws {
    try refuseForeignRoot(of: card)
    guard try !hasOurRoot(card) else { return }
    try route.addHierarchicalTokenBucket(to: card.index, handle: Self.rootHandle)
  }

  private func hasOurRoot(_ card: Link) throws -> Bool {
    try route.queueingDisciplines(of: card.index).contains {
      $0.parent == .root && $0.kind == "htb" && $0.handle == Self.rootHandle
    }
  }

  /// Someone else's root qdisc is their policy for this card; taking it away would be found out too late.
  func refuseForeignRoot(of card: Link) throws {
    let root = try route.queueingDisciplines(of: card.index).first { $0.parent == .root }
    guard let root, !root.isDefault, try !hasOurRoot(card) else { return }
    throw PluginError(
      .failedPrecondition,
      "a transmit rate needs the root qdisc of \(card.name), where there is already a \(root.kind) (\(root.handle)): "
        + "`tc qdisc del dev \(card.name) root`, or claim without a rate")
  }

  private func removeTransmitLimit(of address: MACAddress, on card: Link) throws {
    guard try hasOurRoot(card) else { return }
    if let (handle, preference) = try transmitFilter(address, on: card) {
      try route.deleteFilter(preference: preference, of: card.index, parent: Self.rootHandle)
      try route.deleteClass(handle, of: card.index)
    }
    guard try route.filters(of: card.index, parent: Self.rootHandle).isEmpty else { return }
    try route.deleteQueueingDiscipline(of: card.index, parent: .root)
  }

  // MARK: What arrives

  private func limitReception(
    of address: MACAddress, _ names: FunctionNames, to rate: UInt64, mtu: UInt32, on card: Link
  ) throws {
    let existing = try route.link(named: names.receiveLimiter)
    guard rate > 0 else {
      try removeReceiveFilter(of: address, on: card)
      if let existing { try route.delete(existing.index) }
      return
    }
    if existing == nil {
      try route.create(NewLink(.intermediateFunctionalBlock, name: names.receiveLimiter))
    }
    guard let limiter = try existing ?? route.link(named: names.receiveLimiter) else {
      throw PluginError(.unavailable, "interface \(names.receiveLimiter) went as soon as it was made")
    }
    try route.limit(limiter.index, to: TokenBucket(rateBitsPerSecond: rate, mtu: mtu))
    if !limiter.isUp || limiter.alias != names.alias {
      try route.change(
        limiter.index,
        LinkChange {
          $0.alias = names.alias
          $0.generatesLinkLocalAddress = false
        })
      try route.change(limiter.index, LinkChange { $0.isUp = true })
    }
    try redirectReception(of: address, to: limiter, on: card)
  }

  private func redirectReception(of address: MACAddress, to limiter: Link, on card: Link) throws {
    let parent = try ingress(of: card) ?? .ingressFilters
    let filters = try route.filters(of: card.index, parent: parent)
    if filters.contains(where: { $0.match == .destination(address) && $0.action == .redirect(to: limiter.index) }) {
      return
    }
    try route.addIngress(to: card.index)
    let taken = Set(filters.map(\.preference))
    guard let number = (1...UInt16(0x7fff)).first(where: { !taken.contains($0) }) else {
      throw PluginError(.resourceExhausted, "\(card.name) has no filter left for another rate")
    }
    try route.add(
      TrafficFilter(preference: number, match: .destination(address), action: .redirect(to: limiter.index)),
      to: card.index, parent: parent)
  }

  private func removeReceiveFilter(of address: MACAddress, on card: Link) throws {
    guard let parent = try ingress(of: card) else { return }
    var filters = try route.filters(of: card.index, parent: parent)
    for filter in filters where filter.match == .destination(address) {
      try route.deleteFilter(preference: filter.preference, of: card.index, parent: parent)
    }
    filters.removeAll { $0.match == .destination(address) }
    // A clsact is never ours; an ingress qdisc without filters does nothing, whoever made it.
    guard filters.isEmpty, parent == .ingressFilters else { return }
    try route.deleteQueueingDiscipline(of: card.index, parent: .ingress)
  }

  /// The parent of ingress filters; nil: there is no place for any yet.
  private func ingress(of card: Link) throws -> TrafficHandle? {
    for discipline in try route.queueingDisciplines(of: card.index) {
      if discipline.kind == "clsact" { return .clsactIngressFilters }
      if discipline.kind == "ingress" { return .ingressFilters }
    }
    return nil
  }
}

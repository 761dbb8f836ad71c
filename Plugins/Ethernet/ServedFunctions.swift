import FunctionPluginKit
import LinuxDevices
import Services

/// Functions of this host's cards that another host uses: a macvlan here, a VXLAN device to there, and what comes in at
/// the one goes out at the other.
///
/// A bridge between the two would not do: the consumer's address is the macvlan's own, so a bridge takes everything for
/// this host.
extension EthernetFunctions {
  func serve(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try plan(request)
    guard let tunnel = plan.tunnel else { throw PluginError(.invalidArgument, "serve needs the role of a server") }
    let card = try cardLink(plan.endNode)
    let mtu = plan.mtu ?? card.mtu
    try checkUnderlay(tunnel, mtu: mtu)
    let macvlan = try ensureServedMacvlan(plan, on: card)
    let far = try ensureTunnel(plan, tunnel, mtu: mtu)
    if try !areJoined(macvlan, far) {
      // What a killed attempt left half-done goes first.
      try route.deleteQueueingDiscipline(of: macvlan.index, parent: .ingress)
      try route.deleteQueueingDiscipline(of: far.index, parent: .ingress)
      try route.join(macvlan.index, far.index)
    }
    try limit(macvlan, to: plan.transmitBitsPerSecond, mtu: mtu)
    try limit(far, to: plan.receiveBitsPerSecond, mtu: mtu)
    try admission.admit(tunnel)
    // Nothing flows before everything stands.
    for link in [macvlan, far] where !link.isUp { try route.change(link.index, LinkChange { $0.isUp = true }) }
    // Its consumer goes on as if nothing had happened, and may say nothing for long. Where this cannot be said, the first packet says it.
    if plan.former != nil, !macvlan.isUp, let address = plan.macAddress {
      try? AddressAnnouncement(in: namespace).send(address, from: macvlan.index)
    }
    let status = try status(request, plan)
    guard status.phase == .inUse else {
      throw PluginError(.unavailable, "\(plan.names.function) was set up and is not in use when read back")
    }
    return status
  }

  /// Cuts the way to the consumer's host and proves it: the VXLAN device is gone, the macvlan is down and passes nothing on.
  func unserve(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try releasePlan(request)
    let far = try ourLink(plan.names.tunnel, plan.names)
    if let far { try route.delete(far.index) }
    for tunnel in Set([far?.vxlan, plan.tunnel].compactMap { $0 }) { try revoke(tunnel, of: plan.names) }
    if let macvlan = try ourLink(plan.names.interface, plan.names) {
      try route.change(macvlan.index, LinkChange { $0.isUp = false })
      try route.deleteQueueingDiscipline(of: macvlan.index, parent: .ingress)
      try route.deleteQueueingDiscipline(of: macvlan.index, parent: .root)
    }
    let status = try status(request, plan)
    guard status.phase != .inUse, try ourLink(plan.names.tunnel, plan.names) == nil,
      try ourLink(plan.names.interface, plan.names)?.isUp != true
    else { throw PluginError(.unavailable, "\(plan.names.function) is still served when read back") }
    return status
  }

  func limitServed(_ plan: FunctionPlan) throws {
    guard let macvlan = try ourLink(plan.names.interface, plan.names),
      let far = try ourLink(plan.names.tunnel, plan.names)
    else { throw PluginError(.notFound, "\(plan.names.function) is not served by host \(hostName)") }
    try limit(macvlan, to: plan.transmitBitsPerSecond, mtu: macvlan.mtu)
    try limit(far, to: plan.receiveBitsPerSecond, mtu: macvlan.mtu)
  }

  /// The macvlan of a served function stays in this host's namespace. It takes every multicast group, as the consumer's
  /// memberships are not known here, and says nothing of its own.
  func ensureServedMacvlan(_ plan: FunctionPlan, on card: Link) throws -> Link {
    if let link = try ourLink(plan.names.interface, plan.names), link.alias == plan.names.alias {
      try refuseOtherParameters(link, plan, on: card)
      return link
    }
    if try ourLink(plan.names.interface, plan.names) == nil {
      try check(plan, on: card)
      try route.create(
        NewLink(
          .macvlan(lower: card.index), name: plan.names.interface, macAddress: plan.macAddress,
          mtu: plan.mtu ?? card.mtu, queues: plan.queues))
    }
    let link = try existingLink(plan.names.interface)
    try route.change(
      link.index,
      LinkChange {
        $0.alias = plan.names.alias
        $0.receivesAllMulticast = true
        $0.generatesLinkLocalAddress = false
      })
    return link
  }

  private func ensureTunnel(_ plan: FunctionPlan, _ tunnel: VXLANParameters, mtu: UInt32) throws -> Link {
    if let link = try ourLink(plan.names.tunnel, plan.names) {
      if link.vxlan == tunnel, link.mtu == mtu, link.alias == plan.names.alias { return link }
      if let former = link.vxlan { try revoke(former, of: plan.names) }
      try route.delete(link.index)
    }
    try route.create(NewLink(.vxlan(tunnel), name: plan.names.tunnel, mtu: mtu))
    let link = try existingLink(plan.names.tunnel)
    try route.change(
      link.index,
      LinkChange {
        $0.alias = plan.names.alias
        $0.generatesLinkLocalAddress = false
      })
    return link
  }

  func areJoined(_ first: Link, _ second: Link) throws -> Bool {
    for (from, to) in [(first.index, second.index), (second.index, first.index)] {
      let filters = try route.filters(of: from, parent: .ingressFilters)
      guard filters.contains(where: { $0.match == .everything && $0.action == .redirect(to: to) }) else { return false }
    }
    return true
  }

  private func limit(_ link: Link, to rate: UInt64, mtu: UInt32) throws {
    if rate > 0 {
      try route.limit(link.index, to: TokenBucket(rateBitsPerSecond: rate, mtu: mtu))
    } else {
      try route.deleteQueueingDiscipline(of: link.index, parent: .root)
    }
  }

  /// An interface of this host's namespace, if it belongs to the function.
  func ourLink(_ name: String, _ names: FunctionNames) throws -> Link? {
    try route.link(named: name).flatMap { isOurs($0, names) ? $0 : nil }
  }

  func existingLink(_ name: String) throws -> Link {
    guard let link = try route.link(named: name) else {
      throw PluginError(.unavailable, "interface \(name) went as soon as it was made")
    }
    return link
  }
}

import FunctionPluginKit
import LinuxDevices
import Services

/// Functions of other hosts that this one uses: a VXLAN device with the function's address, in the consumer's namespace,
/// whose packets travel through this host's.
extension EthernetFunctions {
  func connect(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try plan(request)
    guard let tunnel = plan.tunnel else { throw PluginError(.invalidArgument, "connect needs the role of a consumer") }
    guard let mtu = plan.mtu else { throw PluginError(.invalidArgument, "the assignment grants no MTU") }
    let place = try consumerPlace(plan)
    try checkUnderlay(tunnel, mtu: mtu)
    var existing = try find(plan, in: place) ?? takeOver(plan, tunnel, mtu: mtu, in: place)
    try refuseTakenName(plan, in: place)
    if let link = existing, link.vxlan != tunnel {
      // The servers have been changed under a function that lives on: the way there is made anew.
      if let former = link.vxlan { try revoke(former, of: plan.names) }
      try place.route.delete(link.index)
      existing = nil
    }
    if let existing { try refuseOtherParameters(existing, plan, on: nil) }
    if existing == nil { try takeBackStrays(plan, besides: place) }
    try admission.admit(tunnel)
    let link = try existing ?? createTunnel(plan, tunnel, mtu: mtu, in: place)
    if link.name != plan.interfaceName || !link.isUp || link.alias != plan.names.alias {
      try place.route.change(
        link.index,
        LinkChange {
          $0.name = plan.interfaceName
          $0.alias = plan.names.alias
          $0.isUp = true
        })
    }
    return try status(request, plan)
  }

  /// The interface of the function in the place of which this one comes, as this one's: its consumer sees no other, and its packets
  /// go to another host. Nil where there is none that can become it.
  private func takeOver(
    _ plan: FunctionPlan, _ tunnel: VXLANParameters, mtu: UInt32, in place: Place
  ) throws -> Link? {
    guard let former = plan.former, let link = try place.route.link(named: plan.interfaceName),
      link.alias == former.alias, link.macAddress == plan.macAddress, let before = link.vxlan,
      before.networkIdentifier == tunnel.networkIdentifier, before.local == tunnel.local, before.port == tunnel.port
    else { return nil }
    try admission.admit(tunnel)
    try place.route.change(
      link.index,
      LinkChange {
        $0.alias = plan.names.alias
        $0.mtu = link.mtu == mtu ? nil : mtu
        $0.tunnel = tunnel
      })
    try revoke(before, of: former)
    return try place.route.link(named: plan.interfaceName)
  }

  func disconnect(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try releasePlan(request)
    try remove(plan)
    return try provenAbsent(request, plan)
  }

  private func createTunnel(
    _ plan: FunctionPlan, _ tunnel: VXLANParameters, mtu: UInt32, in place: Place
  ) throws -> Link {
    try route.create(
      NewLink(
        .vxlan(tunnel), name: plan.names.unused, macAddress: plan.macAddress, mtu: mtu, queues: plan.queues,
        namespace: place.namespace))
    guard let link = try place.route.link(named: plan.names.unused) else {
      throw PluginError(.unavailable, "interface \(plan.names.unused) went as soon as it was made")
    }
    return link
  }
}

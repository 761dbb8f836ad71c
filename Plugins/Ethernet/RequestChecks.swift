import FunctionPluginKit
import LinuxDevices
import Services

/// Whether the system can carry a request out. Every refusal says what was asked, what was found and what to do.
extension EthernetFunctions {
  /// Problems of a request; changes nothing.
  func validate(_ request: FunctionRequest) -> [String] {
    let plan: FunctionPlan
    do { plan = try self.plan(request) } catch { return [error.message] }
    var problems: [String] = []
    func attempt(_ check: () throws -> Void) {
      do { try check() } catch { problems.append(PluginError(error).message) }
    }
    attempt { try checkConsumer(plan) }
    if plan.isOwn {
      attempt { try checkOwn(plan) }
    } else if plan.role != .consumer {
      attempt {
        let card = try cardLink(plan.endNode)
        let isThere = try !findEverywhere(plan.names).isEmpty
        if !isThere { try check(plan, on: card) }
        if plan.role == .direct { try checkRootIsFree(plan, on: card) }
      }
    }
    if plan.role != .server { attempt { try refuseTakenName(plan, in: consumerPlaceForLooking(plan)) } }
    if let tunnel = plan.tunnel, let mtu = plan.mtu { attempt { try checkUnderlay(tunnel, mtu: mtu) } }
    return problems
  }

  /// Only a function of the card's own can be given away whole.
  func checkConsumer(_ plan: FunctionPlan) throws {
    guard !plan.isOwn, plan.role != .server else { return }
    switch plan.consumer {
    case .host, .networkNamespace: return
    case .container, .virtualMachine, .userSpace, .fileServer:
      throw PluginError(
        .invalidArgument,
        "\(plan.names.function) is a share in software, for this host or a network namespace: a container or machine needs "
          + "the path direct")
    }
  }

  private func checkOwn(_ plan: FunctionPlan) throws {
    let card = try ownCard(plan.endNode)
    if table[plan.names.function] == nil {
      let holders = holders(of: card)
      guard card.capability.functions.contains(where: { holders[$0.index] == nil }) else {
        throw PluginError(
          .resourceExhausted, "\(card.link.name) has no function of its own free (\(card.capability.count) in all)")
      }
    }
    guard plan.consumer.drivesFunction, let function = card.capability.functions.first else { return }
    guard function.iommuGroup != nil else { throw BindingError.noGroup(function.address) }
  }

  /// Address, size and rates against the card.
  func check(_ plan: FunctionPlan, on card: Link) throws {
    if let mtu = plan.mtu, mtu < max(68, card.minimumMTU) || mtu > card.mtu {
      throw PluginError(
        .invalidArgument,
        "an MTU of \(mtu) was asked for; \(card.name) carries \(max(68, card.minimumMTU)) to \(card.mtu)")
    }
    let address = try plan.grantedAddress()
    if card.macAddress == address {
      throw PluginError(
        .alreadyExists, "MAC address \(address) is that of \(card.name) itself: ask for another one")
    }
    for found in try everyLink() where isMacvlan(found.link, of: card, address) {
      guard !isOurs(found.link, plan.names) else { continue }
      let owner = FunctionNames.function(inAlias: found.link.alias).map { "function \($0)" } ?? found.link.name
      throw PluginError(
        .alreadyExists, "MAC address \(address) is in use on \(card.name) by \(owner): ask for another one")
    }
    guard let speed = try bitsPerSecond(of: card) else { return }
    for rate in [plan.transmitBitsPerSecond, plan.receiveBitsPerSecond] where rate > speed {
      throw PluginError(
        .invalidArgument, "a rate of \(rate) bit/s was asked for; \(card.name) has \(speed) bit/s")
    }
  }

  /// The mediation address must be here, and its interface must carry the function's packets in their envelope.
  func checkUnderlay(_ tunnel: VXLANParameters, mtu: UInt32) throws {
    guard let local = tunnel.local else { return }
    guard let index = try route.interfaceIndex(carrying: local), let link = try route.link(index: index) else {
      throw PluginError(
        .failedPrecondition,
        "host \(hostName) has no interface with the mediation address \(local): "
          + "configure it, or correct the agent's mediation address")
    }
    // Outer IP, UDP and VXLAN headers, and the inner Ethernet header.
    let envelope: UInt32 = local.isIPv4 ? 20 + 8 + 8 + 14 : 40 + 8 + 8 + 14
    guard link.mtu >= mtu + envelope else {
      throw PluginError(
        .failedPrecondition,
        "an MTU of \(mtu) needs \(mtu + envelope) on the way between the hosts, and \(link.name) of host \(hostName) "
          + "carries \(link.mtu): ask for at most \(link.mtu > envelope ? link.mtu - envelope : 0)")
    }
  }

  func isMacvlan(_ link: Link, of card: Link, _ address: MACAddress) -> Bool {
    link.kind == "macvlan" && link.lowerLink == card.index && link.macAddress == address
  }

  private func bitsPerSecond(of card: Link) throws -> UInt64? {
    let selection = configuration.endNodes.first { $0.selects(card.name) }
    return try selection?.bitsPerSecond ?? route.speedBitsPerSecond(of: card.name)
  }

  private func checkRootIsFree(_ plan: FunctionPlan, on card: Link) throws {
    guard plan.transmitBitsPerSecond > 0 else { return }
    try refuseForeignRoot(of: card)
  }

  private func consumerPlaceForLooking(_ plan: FunctionPlan) throws -> Place {
    guard let name = plan.consumerNamespace else { return Place(route: route) }
    let consumer = try NetworkNamespace.named(name)
    return try Place(namespace: consumer, route: RouteNetlink(in: consumer))
  }
}

import FunctionPluginKit
import LinuxDevices
import Services

/// Functions of this host's cards that are used on this host.
extension EthernetFunctions {
  func attach(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try plan(request)
    if plan.isOwn {
      try attachOwn(plan)
      return try attached(request, plan)
    }
    let place = try consumerPlace(plan)
    let card = try cardLink(plan.endNode)
    let link = try ensureDirectMacvlan(plan, on: card, in: place)
    // Limits come before use.
    try limitDirect(plan, on: card)
    if link.name != plan.interfaceName || !link.isUp || link.alias != plan.names.alias {
      try refuseTakenName(plan, in: place)
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

  /// The function does not come back from a holder, who may have changed it: it is deleted, and `destroy` finds nothing
  /// left to do.
  func detach(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try releasePlan(request)
    if plan.isOwn {
      try detachOwn(plan)
      return try status(request, plan)
    }
    try remove(plan)
    return try provenAbsent(request, plan)
  }

  private func attached(_ request: FunctionRequest, _ plan: FunctionPlan) throws -> FunctionStatus {
    var status = try status(request, plan)
    guard status.phase == .inUse else {
      throw PluginError(.unavailable, "\(plan.names.function) was attached and is not in use when read back")
    }
    // Its driver takes a moment to find the carrier; that it does not is found by the watch.
    status.health = nil
    return status
  }

  func ensureDirectMacvlan(_ plan: FunctionPlan, on card: Link, in place: Place) throws -> Link {
    if let link = try find(plan, in: place) {
      try refuseOtherParameters(link, plan, on: card)
      return link
    }
    try takeBackStrays(plan, besides: place)
    try check(plan, on: card)
    try refuseTakenName(plan, in: place)
    try route.create(
      NewLink(
        .macvlan(lower: card.index), name: plan.names.unused, macAddress: plan.macAddress, mtu: plan.mtu ?? card.mtu,
        queues: plan.queues, namespace: place.namespace))
    guard let link = try place.route.link(named: plan.names.unused) else {
      throw PluginError(.unavailable, "interface \(plan.names.unused) went as soon as it was made")
    }
    try place.route.change(link.index, LinkChange { $0.alias = plan.names.alias })
    return link
  }

  /// The same function with other parameters is another function: it keeps what it was made with until it is released.
  func refuseOtherParameters(_ link: Link, _ plan: FunctionPlan, on card: Link?) throws {
    let address = try plan.grantedAddress()
    if link.macAddress != address {
      throw PluginError(
        .invalidArgument,
        "\(plan.names.function) was asked for with MAC address \(address) and exists as \(link.name) with "
          + "\(link.macAddress?.description ?? "none")")
    }
    if let mtu = plan.mtu, link.mtu != mtu {
      throw PluginError(
        .invalidArgument,
        "\(plan.names.function) was asked for with an MTU of \(mtu) and exists as \(link.name) with \(link.mtu)")
    }
    if let queues = plan.queues, link.transmitQueues != queues || link.receiveQueues != queues {
      throw PluginError(
        .invalidArgument,
        "\(plan.names.function) was asked for with \(queues) queues and exists as \(link.name) with \(link.transmitQueues) to send "
          + "and \(link.receiveQueues) to receive")
    }
    if let card, link.kind == "macvlan", link.lowerLink != card.index {
      throw PluginError(
        .invalidArgument, "\(plan.names.function) exists as \(link.name) on another interface than \(card.name)")
    }
  }

  /// A namespace is known by its inode. Where the consumer's has died or lost its name and another one bears it now, the
  /// function is taken out of the former, which a process may keep alive: there is one of it.
  func takeBackStrays(_ plan: FunctionPlan, besides place: Place) throws {
    guard plan.consumerNamespace != nil else { return }
    for found in try everyLink() where found.namespaceID != nil && found.namespaceID != place.namespaceID {
      guard isOurs(found.link, plan.names) else { continue }
      try route.delete(found.link.index, inNamespaceWithID: found.namespaceID)
    }
  }

  func refuseTakenName(_ plan: FunctionPlan, in place: Place) throws {
    guard let taken = try place.route.link(named: plan.interfaceName), !isOurs(taken, plan.names) else { return }
    throw PluginError(
      .alreadyExists,
      "\(place.namespace?.label ?? "host \(hostName)") already has an interface \(plan.interfaceName): "
        + "name another one in the claim")
  }
}

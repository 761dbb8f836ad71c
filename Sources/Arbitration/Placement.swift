import Messages

/// Where a claim could go, before it is granted.
struct Candidate {
  var node: EndNodeState
  var route: Route
  /// The place of the route's path in the claim's order of preference.
  var preference: Int

  /// The better candidate is lower: the preferred path, then the least used end node; the id decides the rest.
  static func isBetter(_ one: Candidate, _ other: Candidate) -> Bool {
    one.score < other.score
  }

  private var score: (Int, Int, UInt64, String) {
    (preference, node.shares.count, node.usedSizeBytes, node.record.id)
  }
}

extension Arbiter {
  /// Grants a function to a pending claim, or says what is in the way.
  mutating func place(_ name: String) {
    guard var state = claims[name], state.phase == .pending else { return }
    let (best, drops) = search(state.specification)
    if let best, !waitsForControl(state, insteadOf: best) {
      stopWaiting(state)
      grant(best, to: &state)
      put(state)
      // Its waiting reason names the host that has to act first.
      settle(name)
      return
    }
    // What it does not take any more is in the way now.
    let inTheWay = best == nil ? drops : search(state.specification).1
    let reasons = pendingReasons(inTheWay, for: state.specification)
    guard state.claim.status?.pending != reasons else { return }
    state.withStatus { $0.pending = reasons }
    put(state)
  }

  /// The best candidate, and what was in the way of the others.
  private func search(_ specification: ClaimSpecification) -> (Candidate?, [Drop]) {
    var best: Candidate?
    if let drop = obstacle(ofSourceOf: specification) { return (nil, [drop]) }
    var drops: [Drop] = []
    for node in candidates(for: specification) {
      do throws(Drop) {
        let candidate = try candidate(node, for: specification)
        if best.map({ Candidate.isBetter(candidate, $0) }) ?? true { best = candidate }
      } catch {
        drops.append(error)
      }
    }
    return (best, drops)
  }

  private func candidate(_ node: EndNodeState, for specification: ClaimSpecification) throws(Drop) -> Candidate {
    let record = node.record
    guard isSelected(node, by: specification.endNode) else {
      throw Drop(.selector, "\(record.name) is not what the claim selects")
    }
    try checkFitness(of: node, for: specification)
    guard node.health.state != .unhealthy else {
      throw Drop(.health, "\(record.name) is unhealthy: \(node.health.message)")
    }
    guard let host = hosts[specification.host], host.isConnected else {
      throw Drop(.host, "\(specification.host) is disconnected")
    }
    if let mac = specification.attributes?.ethernet?.macAddress.flatMap(MACAddress.init),
      isUsedByOrphan({ $0.macAddress == mac })
    {
      throw Drop(.attributes, "the MAC address \(mac) is in use by an orphan; see: iov orphan list")
    }
    if !node.isMultiRoot { try checkControl(of: node) }
    try checkRootsAreHeard(node)
    try checkClock(node)
    let (route, preference) = try bestRoute(from: node, to: host, for: specification)
    try checkRoom(in: node, for: specification)
    return Candidate(node: node, route: route, preference: preference)
  }

  /// Whether the end node could take a claim now, by any path.
  func fits(_ node: EndNodeState, _ specification: ClaimSpecification) -> Bool {
    (try? candidate(node, for: specification)) != nil
  }

  func isUnderControl(_ node: EndNodeState) -> Bool { (try? checkControl(of: node)) != nil }

  private func checkControl(of node: EndNodeState) throws(Drop) {
    let name = node.controllingHost
    guard let controller = hosts[name], controller.isConnected else {
      throw Drop(.controllingHost, "\(name), which controls \(node.record.name), is disconnected")
    }
    // Before all that is on that host is known, a token could be drawn that is in use there already: a store that was
    // restored from a backup does not know of it.
    guard controller.hasReportedInventory, controller.hasReportedFunctionsInSession else {
      throw Drop(.controllingHost, "\(name), which controls \(node.record.name), has not yet reported all that it has")
    }
    guard controller.servingPlugin(of: node.record.deviceClass) != nil else {
      throw Drop(.plugin, "no plugin of class \(node.record.deviceClass) serves on \(name)")
    }
  }

  /// The whole of a multi-root end node is used on any root; its parts are its controlling host's to make.
  private func checkDriver(of node: EndNodeState, on path: Path, to host: HostState) throws(Drop) {
    if path == .direct { return try checkRoot(host.record.name, of: node) }
    try checkTakenOver(node)
    try checkControl(of: node)
  }

  /// The first way in the claim's order of preference that is open and wide enough.
  private func bestRoute(
    from node: EndNodeState, to host: HostState, for specification: ClaimSpecification
  ) throws(Drop) -> (Route, Int) {
    var closed: [Drop] = []
    for (preference, path) in specification.paths.enumerated() {
      do throws(Drop) {
        let route = try route(by: path, from: node, to: host)
        if node.isMultiRoot { try checkDriver(of: node, on: path, to: host) }
        let offer = node.offer(on: path)
        try checkOffer(offer, of: node, for: specification)
        try checkRoom(on: offer, in: node)
        if let mtu = specification.attributes?.ethernet?.mtu, let limit = route.mtuLimit, mtu > limit.bytes {
          throw Drop(.mtu, "an MTU of \(mtu) is above \(limit.bytes) on the path \(path.word): \(limit.reason)")
        }
        return (route, preference)
      } catch {
        closed.append(error)
      }
    }
    throw Drop(closed.last?.filter ?? .path, closed.map(\.message).joined(separator: ", "))
  }

  private func checkRoom(in node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    let capacity = node.record.capacity ?? Capacity()
    guard node.hasFreeFunction else {
      throw Drop(.functions, "all \(capacity.functions) functions of \(node.record.name) are in use")
    }
    guard node.isBlockDevice else { return }
    try checkRoomForMinima(in: node, for: specification)
    guard !specification.asksForAll(of: node) else {
      guard node.shares.isEmpty else {
        throw Drop(
          .size,
          "the whole of \(node.record.name) is asked for, and \(Names.list(node.shares.keys)) are parts of it in use")
      }
      return
    }
    let size = specification.attributes?.block?.sizeBytes ?? 0
    let free = capacity.sizeBytes - min(capacity.sizeBytes, node.usedSizeBytes)
    guard size <= free else {
      throw Drop(.size, "\(size) bytes are asked for, \(free) of \(capacity.sizeBytes) are free on \(node.record.name)")
    }
    guard let gap = node.largestGapBytes, size > gap else { return }
    throw Drop(
      .size,
      "\(size) bytes are asked for, \(free) are free on \(node.record.name), and the largest piece of them in one has \(gap)"
    )
  }

  /// What each filter dropped, with the words of the first three.
  private func pendingReasons(_ drops: [Drop], for specification: ClaimSpecification) -> [PendingReason] {
    guard !drops.isEmpty else {
      return [
        Self.reason(.deviceClass, dropped: endNodes.count, "no end node is of class \(specification.deviceClass)")
      ]
    }
    return Filter.allCases.compactMap { filter in
      let dropped = drops.filter { $0.filter == filter }
      guard !dropped.isEmpty else { return nil }
      // Where one host is away, every end node is dropped with the same words.
      var seen: Set<String> = []
      let messages = dropped.map(\.message).filter { seen.insert($0).inserted }
      let more = messages.count > 3 ? "; and \(messages.count - 3) more" : ""
      return Self.reason(filter, dropped: dropped.count, messages.prefix(3).joined(separator: "; ") + more)
    }
  }

  private static func reason(_ filter: Filter, dropped: Int, _ message: String) -> PendingReason {
    var reason = PendingReason()
    reason.filter = filter.name
    reason.dropped = UInt32(clamping: dropped)
    reason.message = message
    return reason
  }
}

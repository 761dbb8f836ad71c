import Messages

extension Arbiter {
  /// Grants a function to a pending claim, or says what is in the way.
  mutating func place(_ name: String) {
    guard var state = claims[name], state.phase == .pending else { return }
    guard !state.hasGroup else { return placeGroup(state.specification.group) }
    setNominationAside(of: state)
    let isOther = place(&state, in: best(for: state.specification))
    if state.phase != .pending { stopWaiting(state) }
    if isOther { put(&state) }
    keepPlace(inTurnOf: name)
  }

  /// Answers whether the claim is another one by that.
  mutating func place(_ state: inout ClaimState, in best: Candidate?) -> Bool {
    let quota = obstacle(ofQuotaOf: state.specification)
    if let best, quota == nil, !waitsForControl(state, insteadOf: best) {
      endNomination(of: &state)
      grant(best, to: &state)
      return true
    }
    let before = state.claim.status
    if quota != nil {
      endNomination(of: &state)
    } else if best != nil || !victimsOnTheirWay(for: state).isEmpty {
      nominate(state)
    } else {
      endNomination(of: &state)
      preempt(for: &state)
    }
    // What it does not take any more is in the way now.
    let reasons =
      quota.map { pendingReasons([$0], for: state.specification) } ?? reasons(of: state.specification)
    let all = state.eviction + reasonOfPreemption(of: state) + reasonOfTurn(of: state) + reasons
    state.withStatus { $0.pending = all }
    return state.claim.status != before
  }

  /// Placement looks at end nodes that are known to be of hosts that can be given functions.
  mutating func noteServedClasses() {
    guard !hosts.changed.isEmpty else { return }
    for host in hosts.takeChanged() {
      endNodes.note(servedClasses: hosts[host]?.servedClasses ?? [], rack: hosts[host]?.rack ?? "", of: host)
    }
  }

  /// The best candidate: the same one as if all were looked at, after a look at as few as possible.
  mutating func best(for specification: ClaimSpecification) -> Candidate? {
    noteServedClasses()
    if specification.locality != nil || specification.placement?.rule == .pack {
      let all = RoomView(isPacked: isPacked(specification))
      for view in [all] + views(for: specification, AskedChoice()).map(\.view) {
        for view in parts(of: view, for: specification) { endNodes.keep(view, ofClass: specification.deviceClass) }
      }
    }
    return found(for: specification)
  }

  // It changes nothing, so that the arbiter need not be copied to whatever it asks.
  private func found(for specification: ClaimSpecification) -> Candidate? {
    guard obstacle(ofSourceOf: specification) == nil, isHostOpen(to: specification) else { return nil }
    let asked = AskedChoice()
    if let few = fewCandidates(for: specification) { return best(of: few, for: specification, asked) }
    var best = bestAtHome(for: specification, asked)
    guard let preference = specification.paths.firstIndex(of: .mediated),
      preference <= best?.preference ?? .max
    else { return best }
    for (view, distance) in views(for: specification, asked) {
      for view in parts(of: view, for: specification) {
        look(for: specification, in: view, Rank.Bound(preference, distance), &best, asked)
      }
    }
    guard !isForManyHosts(specification) else { return best }
    for host in specification.isForSeveralHosts ? specification.hosts : [specification.host] {
      for id in endNodes.closed(butTo: host) where isCandidate(id, for: specification) {
        look(at: id, for: specification, &best, asked)
      }
    }
    return best
  }

  /// Those that are open to any host, and for many hosts those that may serve some of them already. Where there are few, they are
  /// looked up by host.
  private func parts(of view: RoomView, for specification: ClaimSpecification) -> [RoomView] {
    guard isForManyHosts(specification) else { return [view] }
    var closed = view
    closed.isClosed = true
    return [view, closed]
  }

  /// Whether the host of a claim for one, whatever the end node is, lets it have a function now.
  func isHostOpen(to specification: ClaimSpecification) -> Bool {
    guard !specification.isForSeveralHosts else { return true }
    do throws(Drop) {
      try checkKeptAway(from: try usingHost(of: specification), for: specification)
      try checkNames(of: specification)
      return true
    } catch { return false }
  }

  private func candidate(of node: EndNodeState, for specification: ClaimSpecification, _ asked: AskedChoice?)
    -> Candidate?
  {
    guard let asked else { return candidateAtRoot(of: node, for: specification) }
    guard specification.isForSeveralHosts else { return try? candidate(node, for: specification) }
    return try? candidate(node, for: specification, on: choice(for: specification, asked))
  }

  /// To put many hosts in order takes long, and where nothing is free, or there is one host, nobody asks for it.
  private final class AskedChoice { var choice: HostChoice? }

  private func choice(for specification: ClaimSpecification, _ asked: AskedChoice) -> HostChoice {
    let choice = asked.choice ?? choice(for: specification)
    asked.choice = choice
    return choice
  }

  /// Of the end nodes of the claim's own hosts, which alone can be used in another way than mediated.
  private func bestAtHome(for specification: ClaimSpecification, _ asked: AskedChoice) -> Candidate? {
    let paths = specification.paths
    guard paths != [.mediated] else { return nil }
    guard specification.isForSeveralHosts else {
      return best(of: endNodes.ids(atHost: specification.host), for: specification, asked)
    }
    guard isForManyHosts(specification) else {
      return best(of: ids(atHostsOf: choice(for: specification, asked)), for: specification, asked)
    }
    guard let preference = endNodes.firstDirect(of: paths, inClass: specification.deviceClass) else { return nil }
    var best: Candidate?
    let view = RoomView(isPacked: isPacked(specification))
    let nearest: Nearness = specification.locality?.numaNode == nil ? .host : .numaNode
    let bound = Rank.Bound(preference, specification.prefersNearest ? nearest.rawValue : 0)
    for view in parts(of: view, for: specification) { look(for: specification, in: view, bound, &best, nil) }
    return best
  }

  /// Goes through end nodes that may have room, the better ones first, until none of those that follow can be better than what is found.
  ///
  /// - Parameter asked: nil: their own roots alone are looked at.
  // Not a closure that does that: one would copy the arbiter.
  private func look(
    for specification: ClaimSpecification, in view: RoomView, _ bound: Rank.Bound, _ best: inout Candidate?,
    _ asked: AskedChoice?
  ) {
    let rooms = endNodes.rooms(ofClass: specification.deviceClass, view)
    for room in rooms.elements(from: leastRoom(for: specification, in: view)) {
      if let rank = best?.rank, rank < bound.rank(room) { return }
      look(at: room.id, for: specification, &best, asked)
    }
  }

  private func look(
    at id: String, for specification: ClaimSpecification, _ best: inout Candidate?, _ asked: AskedChoice?
  ) {
    guard let node = endNodes[id], isSelected(node, by: specification),
      let found = candidate(of: node, for: specification, asked)
    else { return }
    if let rank = best?.rank, rank <= found.rank { return }
    best = found
  }

  /// What is to be looked through for what another host serves, the nearest first, with how far it is at least.
  private func views(
    for specification: ClaimSpecification, _ asked: AskedChoice
  ) -> [(view: RoomView, distance: Int32)] {
    let isPacked = isPacked(specification)
    let within = specification.locality?.within ?? .unspecified
    guard within != .numaNode, within != .host else { return [] }
    guard within == .rack || specification.prefersNearest else { return [(RoomView(isPacked: isPacked), 0)] }
    let near = racks(of: choice(for: specification, asked)).map { rack in
      (RoomView(isPacked: isPacked, rack: rack), specification.prefersNearest ? Nearness.rack.rawValue : 0)
    }
    return within == .rack ? near : near + [(RoomView(isPacked: isPacked), Nearness.elsewhere.rawValue)]
  }

  /// Of disks that are packed those with less than is asked for come before.
  private func leastRoom(for specification: ClaimSpecification, in view: RoomView) -> Room {
    let size = view.isPacked ? specification.attributes?.block?.sizeBytes ?? 0 : 0
    return Room(
      functionsInUse: view.isPacked ? .max : 0, bytesInUse: 0, bytesLeft: size, id: "", isPacked: view.isPacked)
  }

  private func best(
    of ids: some Sequence<String>, for specification: ClaimSpecification, _ asked: AskedChoice
  ) -> Candidate? {
    var best: Candidate?
    for id in ids {
      guard let node = endNodes[id], isCandidate(node, for: specification), isSelected(node, by: specification),
        let candidate = candidate(of: node, for: specification, asked)
      else { continue }
      if let rank = best?.rank, rank <= candidate.rank { continue }
      best = candidate
    }
    return best
  }

  /// Whether a claim would get now what it would get if every end node were looked at for every host.
  package mutating func findsTheBest(for specification: ClaimSpecification) -> Bool {
    let (found, choice) = (best(for: specification), choice(for: specification))
    var best: Candidate?
    for id in candidates(for: specification) {
      guard let node = endNodes[id], isCandidate(node, for: specification), isSelected(node, by: specification),
        let candidate = candidateAmongAll(node, for: specification, on: choice)
      else { continue }
      if let rank = best?.rank, rank <= candidate.rank { continue }
      best = candidate
    }
    let expected = obstacle(ofSourceOf: specification) == nil ? best : nil
    return found?.record.id == expected?.record.id && found?.host == expected?.host
      && found?.route.path == expected?.route.path
  }

  /// Whether a claim that waits would get what another one has if that one did not have it.
  package func couldHave(_ name: String, insteadOf other: String) -> Bool {
    guard let state = claims[name], let held = claims[other]?.assignment, var node = endNodes[held.endNode],
      isCandidate(held.endNode, for: state.specification)
    else { return false }
    var arbiter = self
    arbiter.setNominationAside(of: state)
    guard arbiter.obstacle(ofQuotaOf: state.specification) == nil else { return false }
    node.freeShare(held.function)
    let specification = state.specification
    return arbiter.fits(node, specification, on: arbiter.choice(for: specification))
  }

  /// Those that a claim can choose, where it says which ones; nil if it may be any of its class. In the order of their ids.
  func fewCandidates(for specification: ClaimSpecification) -> OrderedSet<String>? {
    guard specification.source.isEmpty else { return candidates(for: specification) }
    let selector = specification.endNode ?? EndNodeSelector()
    guard !selector.name.isEmpty || !selector.host.isEmpty else { return nil }
    let ids = selector.name.isEmpty ? endNodes.ids(atHost: selector.host) : endNodes.ids(named: selector.name)
    return OrderedSet(ids.filter { isCandidate($0, for: specification) })
  }

  /// The best way from an end node to the specification's host.
  func candidate(_ node: EndNodeState, for specification: ClaimSpecification) throws(Drop) -> Candidate {
    try checkSelection(of: node, by: specification)
    try checkData(of: node, for: specification)
    do throws(Drop) {
      return try openCandidate(node, for: specification)
    } catch {
      // That no path does is said first. An open one does.
      try checkPaths(of: node, for: specification)
      throw error
    }
  }

  private func openCandidate(_ node: EndNodeState, for specification: ClaimSpecification) throws(Drop) -> Candidate {
    try checkCapacity(of: node, for: specification)
    try checkMTU(of: node, for: specification)
    try checkKeptAway(from: node, for: specification)
    try checkHealth(of: node)
    let host = try usingHost(of: specification)
    try checkKeptAway(from: host, for: specification)
    try checkNames(of: specification)
    try checkFailures(on: host, of: node, for: specification)
    let controller = node.controllingHost == host.record.name ? host : hosts[node.controllingHost]
    if !node.isMultiRoot {
      try checkController(controller, of: node, for: specification)
    }
    try checkRootsAreHeard(node)
    try checkClock(node)
    let (route, preference) = try bestRoute(from: node, of: controller, to: host, for: specification)
    try checkRoom(in: node, for: specification)
    try checkKept(in: node, for: specification, by: route.path)
    let isLocal = specification.locality != nil
    return Candidate(
      node: node, host: host.record.name, route: route, preference: preference, isPacked: isPacked(specification),
      nearness: isLocal ? nearness(of: node, by: route.path, to: host, for: specification) : .unspecified,
      prefersNearest: isLocal && specification.prefersNearest,
      peers: peers(of: specification, at: .endNode(node.record.id)))
  }

  func checkHealth(of node: EndNodeState) throws(Drop) {
    guard node.isUnhealthy else { return }
    throw Drop(.health, "\(node.record.name) is unhealthy: \(node.health.message)")
  }

  func usingHost(of specification: ClaimSpecification) throws(Drop) -> HostState {
    guard let host = hosts[specification.host], host.isConnected else {
      throw Drop(.host, "\(specification.host) is disconnected")
    }
    return host
  }

  func checkNames(of specification: ClaimSpecification) throws(Drop) {
    // Whose host is settled has its name reserved.
    if specification.isForSeveralHosts, let words = specification.interfaceKey.flatMap({ wordsOfHolder(of: $0) }) {
      throw Drop(.host, words)
    }
    if let mac = specification.attributes?.ethernet?.macAddress.flatMap(MACAddress.init),
      orphanIndex.uses(mac)
    {
      throw Drop(.attributes, "the MAC address \(mac) is in use by an orphan; see: iov orphan list")
    }
  }

  /// Whether the end node could take a claim now, by any path to one of its hosts.
  func fits(_ node: EndNodeState, _ specification: ClaimSpecification, on choice: HostChoice) -> Bool {
    isSelected(node, by: specification) && (try? candidate(node, for: specification, on: choice)) != nil
  }

  func isUnderControl(_ node: EndNodeState) -> Bool { (try? checkControl(of: node)) != nil }

  func checkControl(of node: EndNodeState) throws(Drop) { try checkControl(of: node, by: hosts[node.controllingHost]) }

  private func checkControl(of node: EndNodeState, by controller: HostState?) throws(Drop) {
    let name = node.controllingHost
    guard let controller, controller.isConnected else {
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
  private func checkDriver(
    _ controller: HostState?, of node: EndNodeState, on path: Path, to host: HostState,
    for specification: ClaimSpecification
  ) throws(Drop) {
    if path == .direct { return try checkRoot(host.record.name, of: node) }
    try checkTakenOver(node)
    try checkController(controller, of: node, for: specification)
  }

  private func checkController(
    _ controller: HostState?, of node: EndNodeState, for specification: ClaimSpecification
  ) throws(Drop) {
    try checkControl(of: node, by: controller)
    if let controller { try checkKeptAway(from: controller, thatControls: node, for: specification) }
  }

  /// The first way in the claim's order of preference that is open and wide enough.
  func bestRoute(
    from node: EndNodeState, of controller: HostState?, to host: HostState, for specification: ClaimSpecification
  ) throws(Drop) -> (Route, Int) {
    let paths = specification.paths
    // Most end nodes have one or two of all paths; of the others nothing has to be said where one of those is open.
    for (preference, path) in paths.enumerated() where node.has(path) {
      if let route = try? openRoute(by: path, from: node, of: controller, to: host, for: specification) {
        return (route, preference)
      }
    }
    var closed: [Drop] = []
    for path in paths {
      do throws(Drop) {
        _ = try openRoute(by: path, from: node, of: controller, to: host, for: specification)
      } catch {
        closed.append(error)
      }
    }
    // Where others have one of them, that counts: they may let go.
    let inUse = closed.map(\.filter).filter(\.isOfUse).max()
    throw Drop(inUse ?? closed.last?.filter ?? .path, closed.map(\.message).joined(separator: ", "))
  }

  private func openRoute(
    by path: Path, from node: EndNodeState, of controller: HostState?, to host: HostState,
    for specification: ClaimSpecification
  ) throws(Drop) -> Route {
    if path == .direct { try checkOwnFunctionsAreMade(of: node, to: host, for: specification) }
    let route = try route(by: path, from: node, of: controller, to: host)
    if node.isMultiRoot { try checkDriver(controller, of: node, on: path, to: host, for: specification) }
    let offer = node.offer(on: path)
    try checkOffer(offer, of: node, for: specification)
    try checkRoom(on: offer, in: node)
    try checkLocality(of: node, by: path, to: host, for: specification)
    if let mtu = specification.attributes?.ethernet?.mtu, let limit = route.mtuLimit, mtu > limit.bytes {
      throw Drop(.mtu, "an MTU of \(mtu) is above \(limit.bytes) on the path \(path.word): \(limit.reason)")
    }
    return route
  }

  func checkRoom(in node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    let capacity = node.record.capacity ?? Capacity()
    guard node.hasFreeFunction else {
      throw Drop(.functions, "all \(capacity.functions) functions of \(node.record.name) are in use")
    }
    guard node.hasRoom(forHost: specification.host) else {
      let unknown = node.hostsInUse - node.users.count
      let users = node.users.isEmpty ? [] : [Names.list(node.users)]
      let orphans = unknown == 0 ? [] : ["\(unknown) of which nobody remembers the host (iov orphan list)"]
      throw Drop(
        .hosts,
        "\(node.record.name) serves at most \(capacity.hosts) hosts at a time, and they are: "
          + (users + orphans).joined(separator: ", and "))
    }
    try checkRoomForMinima(in: node, for: specification)
    guard node.isBlockDevice else { return }
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
}

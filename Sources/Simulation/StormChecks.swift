import Arbitration
import Messages

/// What must never happen, seen at the devices. Looked at again where something has changed since the last look.
extension Storm {
  mutating func check() {
    if device.hasChanged || hosts.values.contains(where: \.hasChanged) {
      checkDevices()
      device.hasChanged = false
      for name in Self.hostNames { hosts[name]?.hasChanged = false }
    }
    if haveClaimsChanged { checkClaims() }
    checkAudit()
    if lastID % 64 == 0 { checkSearch() }
  }

  /// What finds an end node without a look at the others finds the same as a look at all.
  private mutating func checkSearch() {
    // Not the arbiter itself, so that it is not known of that somebody looked.
    var arbiter = arbiter
    for specification in arbiter.listedClaims.compactMap(\.specification) {
      require(
        arbiter.explainsPlacement(of: specification), "what is in the way of \(specification) is not what is said")
      require(arbiter.findsTheBest(for: specification), "the search for \(specification) missed the best end node")
    }
  }

  /// What is cut off at the device is nobody's any more.
  private func present(on host: StormHost) -> [StormHost.Function] {
    host.functions.values.filter {
      guard $0.assignment.source.isEmpty else { return $0.role != .consumer && reaches($0, from: host) }
      return $0.role != .consumer && ($0.assignment.endNode != sharedID || host.canWrite($0, device))
    }
  }

  private mutating func checkDevices() {
    let up = hosts.values.filter(\.isUp)
    checkSharedDevice()
    checkSources()
    let served = up.flatMap { present(on: $0) }
    // A device that refuses tells of it, too: only what an older copy of the store knows nothing of may be in the way.
    for host in up where !host.crowdedOut.isEmpty {
      require(hasForgotten, "\(host.name) was given \(host.crowdedOut.sorted()), for which its devices have no room")
    }
    checkCapacity(hosts.values.flatMap { present(on: $0) })
    checkHolders(up: up, served: served)
  }

  private mutating func checkClaims() {
    let beingDeleted = beingDeleted
    for (name, uid) in acknowledged where !beingDeleted.contains(name) {
      require(arbiter.claim(named: name)?.uid == uid, "\(name) was acknowledged and is lost")
    }
    checkGroups()
    if !arbiter.claimsWithTurn.isEmpty { coverage.note(.keptForClaim) }
    haveClaimsChanged = !beingDeleted.isEmpty
  }

  mutating func require(_ holds: Bool, _ message: @autoclosure () -> String) {
    if !holds, failures.count < Self.failuresKept { failures.append(message()) }
  }

  private mutating func checkCapacity(_ present: [StormHost.Function]) {
    for node in hosts.values.flatMap({ $0.endNodes + $0.servedEndNodes }) {
      let functions = present.filter { $0.assignment.endNode == node.id }
      guard !functions.isEmpty else { continue }
      if let limit = node.capacity?.functions, limit > 0 {
        require(functions.count <= Int(limit), "\(node.id) gives more functions than it has")
      }
      if let limit = node.capacity?.hosts, limit > 0 {
        // Devices do not count hosts: what an older copy of the store knows nothing of comes on top.
        let users = Set(functions.filter { !forgotten.contains($0.id) }.map(\.assignment.host))
        require(users.count <= Int(limit), "\(node.id) is used by \(users.sorted()), and by \(limit) at most")
      }
      if let limit = node.capacity?.sizeBytes, limit > 0 {
        let used = functions.reduce(0) { $0 + $1.assignment.sizeBytes }
        require(used <= limit, "\(node.id) gives more than its size")
      }
      if let limit = node.capacity?.bitsPerSecond, limit > 0 {
        let granted = functions.reduce(0) { $0 + $1.promisedBitsPerSecond }
        require(granted <= limit, "\(node.id) is to send \(granted) bit/s for its functions and can send \(limit)")
      }
      if let limit = node.capacity?.queues, limit > 0 {
        let granted = functions.reduce(0) { $0 + $1.queues }
        require(granted <= limit, "\(node.id) is to give \(granted) queues and has \(limit)")
      }
      if let limit = node.capacity?.operationsPerSecond, limit > 0 {
        let granted = functions.reduce(0) { $0 + ($1.assignment.attributes?.block?.minOperationsPerSecond ?? 0) }
        require(granted <= limit, "\(node.id) is to give \(granted) operations in a second and can do \(limit)")
      }
    }
    let inUse = present.filter(\.isInUse)
    require(
      Set(inUse.map(\.id)).count == inUse.count,
      "a function is in use twice: \(inUse.map { "\($0.id) \($0.role) for \($0.assignment.claim) on \($0.assignment.host)" }.sorted())"
    )
    // What an older copy of the store knows nothing of may have what others were given since.
    requireUnique(inUse.filter { !forgotten.contains($0.id) }, "MAC address") { $0.assignment.macAddress }
    checkNetworks(inUse)
  }

  private mutating func requireUnique<Value: Hashable>(
    _ functions: [StormHost.Function], _ what: String, of value: (StormHost.Function) -> Value?
  ) {
    var owners: [Value: String] = [:]
    for function in functions.sorted(by: { $0.key < $1.key }) {
      guard let value = value(function) else { continue }
      let other = owners.updateValue(function.id, forKey: value)
      require(other == nil, "\(other ?? "") and \(function.id) have one \(what), \(value)")
    }
  }

  private mutating func checkNetworks(_ functions: [StormHost.Function]) {
    var owners: [UInt32: [StormHost.Function]] = [:]
    for function in functions.sorted(by: { $0.key < $1.key }) {
      guard let vni = function.vni else { continue }
      for other in owners[vni] ?? [] {
        // A claim keeps its network when another host serves it, so what is forgotten of a claim may have the network that the claim has.
        let isForgotten = forgotten.contains(function.id) || forgotten.contains(other.id)
        let isOfOne = other.assignment.claimUid == function.assignment.claimUid && isForgotten
        require(isOfOne, "\(other.id) and \(function.id) have one network, \(vni)")
      }
      owners[vni, default: []].append(function)
    }
  }

  /// Who can move data by a function: its server serves, and the consumer is connected.
  private mutating func checkHolders(up: [StormHost], served: [StormHost.Function]) {
    var usable: [String: Set<String>] = [:]
    var holders: [String: Set<String>] = [:]
    for function in served where function.isInUse {
      let id = function.id
      let consumers = up.filter { $0.functions.values.contains { $0.isConnected(to: function) } }.map(\.name)
      let users = function.role == .direct ? [function.assignment.host] : consumers
      guard !users.isEmpty else { continue }
      holders[id, default: []].formUnion(users.map { "\($0) for \(function.assignment.claimUid)" })
      guard !forgotten.contains(id) else { continue }
      usable[function.assignment.claimUid, default: []].insert(id)
    }
    for (id, who) in holders { require(who.count == 1, "\(id) is held by \(who.sorted())") }
    for (uid, ids) in usable { require(ids.count == 1, "claim \(uid) uses \(ids.sorted())") }
  }
}

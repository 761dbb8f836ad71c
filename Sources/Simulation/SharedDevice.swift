import Arbitration
import Messages

/// A disk that several hosts see, as it keeps them apart itself: one of them is registered and may write, under a key that is
/// a token. Who comes with a higher one takes it, who comes with a lower one is refused.
struct SharedDevice {
  private(set) var holder: String? { didSet { hasChanged = true } }
  private(set) var key: UInt64 = 0 { didSet { hasChanged = true } }
  /// What was cleaned, and by whom, since the last look.
  var wipes: [(host: String, assignment: Assignment, hit: String?)] = [] { didSet { hasChanged = true } }
  /// Since the last look.
  var hasChanged = true

  mutating func take(by host: String, under key: UInt64) -> Bool {
    guard holder == nil || key >= self.key else { return false }
    (holder, self.key) = (host, key)
    return true
  }

  mutating func leave(_ host: String) {
    if holder == host { holder = nil }
  }

  /// Takes the registration away that stands under one of these keys.
  mutating func preempt(_ keys: [UInt64]) {
    if keys.contains(key) { holder = nil }
  }
}

extension StormHost {
  /// The key under which this host has the device for a function.
  func key(for assignment: Assignment) -> UInt64 {
    assignment.path == .direct ? assignment.token?.value ?? 0 : controlsInForce[assignment.endNode] ?? 0
  }

  func canWrite(_ function: Function, _ device: SharedDevice) -> Bool {
    guard function.isInUse else { return false }
    guard function.assignment.endNode == sharedID else { return true }
    return device.holder == name && device.key == key(for: function.assignment)
  }

  mutating func takeControls(at now: UInt64, _ device: inout SharedDevice) {
    guard isUp, now < leaseEnds, canStep(sharedID, "sata"), let control = wantedControls[sharedID],
      let token = control.controlToken?.value
    else { return }
    defer { leaveUnused(control, &device) }
    guard token > controlsInForce[sharedID] ?? 0 else { return }
    device.preempt(control.formerControlTokens.map(\.value))
    controlsInForce[sharedID] = token
    highestTokens[sharedID] = max(highestTokens[sharedID] ?? 0, token)
    if let session = welcomedSession { toCoordinator.append(.inventoryReported(session, inventory)) }
  }

  private mutating func leaveUnused(_ control: WantedControl, _ device: inout SharedDevice) {
    guard control.unused, let token = control.controlToken?.value, token == controlsInForce[sharedID] else { return }
    wantedControls[sharedID]?.unused = false
    if !usesShared, device.key == token { device.leave(name) }
  }

  mutating func stepOnShared(
    _ entry: WantedFunction, _ assignment: Assignment, at now: UInt64, _ device: inout SharedDevice
  ) {
    let (isPart, token, name) = (assignment.path != .direct, assignment.token?.value ?? 0, entry.recordName)
    highestTokens[sharedID] = max(highestTokens[sharedID] ?? 0, token)
    let hasControl = wantedControls[sharedID]?.controlToken?.value == controlsInForce[sharedID]
    let mayAct = now < leaseEnds && (!isPart || hasControl)
    if entry.role == .fencer {
      guard mayAct, clean(assignment, &device) else { return }
      spent[name] = token
    } else if entry.released {
      spent[name] = max(spent[name] ?? 0, token)
      functions[name]?.isInUse = false
      // What others cleaned it does not clean again, and it is registered no more.
      if entry.fenced, !isPart, device.key == token { device.leave(self.name) }
      guard functions[name] == nil || entry.fenced || clean(assignment, &device) else { return }
      functions[name] = nil
      extents[assignment.function] = nil
      if isPart, !entry.keepOthersOut, !usesShared { device.leave(self.name) }
    } else if mayAct, !isSpent(entry), let extent = extent(of: assignment) {
      guard device.take(by: self.name, under: key(for: assignment)) else { return refusals[name] = device.key }
      refusals[name] = nil
      extents[assignment.function] = extent
      functions[name] = Function(assignment: assignment, role: entry.role, isInUse: true)
    }
  }

  /// With its last part the device is nobody's.
  private var usesShared: Bool {
    functions.values.contains { $0.assignment.endNode == sharedID && $0.role != .consumer }
  }

  private mutating func clean(_ assignment: Assignment, _ device: inout SharedDevice) -> Bool {
    // Whoever is registered writes, also one that has lost its memory of the token under which it is.
    let isRegistered = assignment.path != .direct && device.holder == name
    guard isRegistered || device.take(by: name, under: key(for: assignment)) else { return false }
    let place = extents[assignment.function]
    let hit = functions.values.first { function in
      let theirs = extents[function.id]
      let isHit = assignment.path == .direct || place.flatMap { theirs?.overlaps($0) } ?? false
      return function.id != assignment.function && canWrite(function, device) && isHit && theirs != nil
    }
    device.wipes.append((name, assignment, hit?.id))
    if assignment.path == .direct { device.leave(name) }
    return true
  }

  /// As it was told, or as it was, or the first gap; nil if there is none, or it is another one's.
  private func extent(of assignment: Assignment) -> Extent? {
    let others = extents.filter { $0.key != assignment.function }.map(\.value)
    if let known = assignment.extent ?? extents[assignment.function] {
      return others.contains { $0.overlaps(known) } ? nil : known
    }
    var extent = Extent { $0.sizeBytes = assignment.sizeBytes }
    for other in others.sorted(by: { $0.offsetBytes < $1.offsetBytes }) where extent.overlaps(other) {
      extent.offsetBytes = other.offsetBytes + other.sizeBytes
    }
    return extent.offsetBytes + extent.sizeBytes <= 1 << 30 ? extent : nil
  }
}

extension Storm {
  var givenOfSharedDevice: Set<String> {
    Set(arbiter.listedClaims.compactMap(\.status?.assignment).filter { $0.endNode == sharedID }.map(\.function))
  }

  mutating func noteHeard(_ event: Event) {
    guard case .functionsReported(let session, let report) = event, report.complete,
      let host = arbiter.hostOfSession[session]
    else { return }
    unheardRoots.remove(host)
  }

  /// A root that has not been heard of may have what the store knows nothing of.
  mutating func checkNothingIsGivenUnheard(_ before: Set<String>, _ event: Event) {
    // What is adopted is there already.
    if case .orphanAdopted = event { return }
    guard !unheardRoots.isEmpty else { return }
    let given = givenOfSharedDevice.subtracting(before).sorted()
    guard !given.isEmpty else { return }
    // One that is forgotten, or has lost sight of the disk, is a root no more.
    let roots = arbiter.listedEndNodes.first { $0.id == sharedID }?.roots.map(\.host) ?? []
    let unheard = unheardRoots.filter { name in
      roots.contains(name) && arbiter.host(named: name).map { $0.death == nil } ?? false
    }
    guard let root = unheard.min() else { return }
    require(false, "\(given) was given while \(root) had yet to say what it has")
  }

  /// What must never happen on the shared device.
  mutating func checkSharedDevice() {
    let writing = hosts.values.flatMap { host in
      host.functions.values.filter {
        $0.assignment.endNode == sharedID && $0.role != .consumer && host.canWrite($0, device)
      }
      .map { (host: host.name, function: $0) }
    }
    for one in writing {
      for other in writing where one.function.key != other.function.key || one.host != other.host {
        let isWhole = one.function.assignment.path == .direct || other.function.assignment.path == .direct
        let extents = [one, other].compactMap { hosts[$0.host]?.extents[$0.function.id] }
        let overlap = extents.count == 2 && extents[0].overlaps(extents[1])
        require(
          !isWhole && !overlap,
          "\(one.function.key) on \(one.host) and \(other.function.key) on \(other.host) both write")
      }
    }
    for (host, assignment, hit) in device.wipes {
      let uid = assignment.claimUid
      let isReady = readyOnce.contains(assignment.function) && !evicted.contains(assignment.function)
      let isKept = acknowledged.values.contains(uid) && isReady && !hasForgotten
      require(!isKept, "\(host) wiped \(assignment.function), which its claim never let go of")
      require(hit == nil, "\(host) wiped \(assignment.function) where \(hit ?? "") lies")
    }
    device.wipes = []
  }
}

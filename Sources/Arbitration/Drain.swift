import Messages

/// Which cordoned end nodes and hosts are being drained, and when their deadlines are.
struct Drains: Sendable {
  private(set) var targets: Set<Maintained> = []
  /// On the arbiter's monotonic clock. What is missing has a deadline that this run has yet to begin to count, or none.
  private var ends: [Maintained: UInt64] = [:]
  var turns = Turns()
  /// Behind which the next round begins.
  private var last: Maintained?

  /// All of them, those first that had no turn in the round before.
  func round() -> [Maintained] {
    let all = targets.sorted()
    guard let last, let start = all.firstIndex(where: { $0 > last }) else { return all }
    return Array(all[start...] + all[..<start])
  }

  mutating func endRound(behind target: Maintained?) { last = target }

  mutating func insert(_ target: Maintained) {
    targets.insert(target)
    ends[target] = nil
    turns.begin(at: target)
  }

  mutating func remove(_ target: Maintained) {
    targets.remove(target)
    ends[target] = nil
    turns.begin(at: target)
  }

  /// How much of its time is left, of what was left when this was asked first.
  mutating func remaining(of target: Maintained, from remaining: UInt64, at now: Instant) -> UInt64 {
    let (sum, isTooMuch) = now.monotonicMilliseconds.addingReportingOverflow(remaining)
    let end = ends[target] ?? (isTooMuch ? .max : sum)
    ends[target] = end
    return end - min(end, now.monotonicMilliseconds)
  }
}

/// A drain has what is in use leave what is cordoned: what fits elsewhere goes there by and by, a claim that allows no less is left
/// until the deadline, and what holds data stays unless it was said that it may be lost. Each claim lets go as by any eviction.
///
/// The deadline is counted on the monotonic clock while a coordinator runs, and what is left of it is stored once a minute. So
/// neither a clock that is set nor a coordinator that is away takes time from anybody.
extension Arbiter {
  /// A claim that fits nowhere else has looked at all there is: of so many at a time.
  private static var looksInVain: Int { 8 }
  private static var longestDeadlineMilliseconds: UInt64 { 366 * 86_400_000 }

  mutating func drain(_ request: DrainRequest, at now: Instant) throws(Refusal) -> MaintenanceAnswer {
    let target = try maintained(request.target)
    try checkReason(request.reason)
    let before = cordon(of: target)
    var drain = Drain()
    drain.evict = request.evict
    drain.discardData = request.discardData
    drain.force = request.force
    (drain.moved, drain.evicted) = (before?.drain?.moved ?? 0, before?.drain?.evicted ?? 0)
    if let deadline = request.deadlineMilliseconds {
      guard deadline <= Self.longestDeadlineMilliseconds else {
        throw Refusal(.invalidArgument, "a deadline in \(deadline) ms is asked for; it is at most 366 days away")
      }
      drain.setRemaining(deadline, at: now)
    }
    var cordon = before ?? Cordon { $0.since = now.timestamp }
    if !request.reason.isEmpty { cordon.reason = request.reason }
    cordon.drain = drain
    // What fits elsewhere is judged with the new word in force.
    set(cordon, of: target)
    if !request.force {
      do throws(Refusal) { try checkOtherRoots(of: target, drain) } catch {
        set(before, of: target)
        throw error
      }
    }
    put(cordon, of: target)
    drains.insert(target)
    var looks = Self.looksInVain
    carryOn(target, at: now, &looks)
    return answer(target)
  }

  mutating func carryOnDrains(at now: Instant) {
    var looks = Self.looksInVain
    var last: Maintained?
    for target in drains.round() {
      carryOn(target, at: now, &looks)
      if looks == 0, last == nil { last = target }
    }
    drains.endRound(behind: last)
  }

  /// - Parameter looks: how many claims may still be found to fit nowhere else.
  private mutating func carryOn(_ target: Maintained, at now: Instant, _ looks: inout Int) {
    guard var cordon = cordon(of: target), var drain = cordon.drain else { return drains.remove(target) }
    if let stored = drain.remainingMilliseconds {
      let left = drains.remaining(of: target, from: stored, at: now)
      if left != stored, left == 0 || left + 60_000 <= stored { drain.setRemaining(left, at: now) }
    }
    let why = "\(words(of: target)) is \(cordon.words)"
    let names = claims(at: target)
    var before = drains.turns.last(at: target)
    for name in looks > 0 || drain.isDue ? drains.turns.next(of: names, at: target) : [] {
      guard let state = claims[name] else { continue }
      let leavesAnyway: Bool
      switch fate(of: state, at: target, drain) {
      case .leaves: leavesAnyway = true
      case .leavesWhereItFits: leavesAnyway = false
      case .isGoing, .isLeft, .stays: continue
      }
      guard looks > 0 || leavesAnyway else {
        drains.turns.end(behind: before, at: target)
        break
      }
      before = name
      // Of those that leave in any case, too many were not asked.
      let fits = looks > 0 && fitsElsewhere(state)
      if !fits, looks > 0, isHostOpen(to: state.specification) { looks -= 1 }
      if fits || leavesAnyway, evict(name, because: why) { drain.count(isMove: fits) }
    }
    guard drain != cordon.drain else { return }
    cordon.drain = drain
    set(cordon, of: target)
    changes.save(target.recordKey)
  }

  /// The claims that have something there, by name.
  func claims(at target: Maintained) -> [String] {
    switch target {
    case .endNode(let id): (endNodes[id]?.shares.keys).map { Set($0.compactMap { claimOfFunction[$0] }).sorted() } ?? []
    case .host(let name): (hosts[name]?.claims ?? NameSet()).sorted()
    }
  }

  // MARK: Room elsewhere

  /// Whether a claim would get another function, although it still has one where nothing new is given.
  mutating func fitsElsewhere(_ state: ClaimState) -> Bool { placeElsewhere(for: state) != nil }

  /// What is on its way elsewhere already has yet to take its place there.
  private mutating func placeElsewhere(for state: ClaimState) -> Candidate? {
    guard let assignment = state.assignment, obstacle(ofQuotaOfMoving: state) == nil else { return nil }
    let specification = state.specification
    var candidate = best(for: specification.used(alsoOn: assignment.host))
    if candidate == nil, specification.isForSeveralHosts { candidate = best(for: specification) }
    guard let candidate, let node = endNodes[candidate.record.id] else { return nil }
    let onTheirWay = evicting.load(ofClass: specification.deviceClass)
    let limit = Int(node.record.capacity?.functions ?? 0)
    guard limit == 0 || node.shares.count + onTheirWay.functions < limit else { return nil }
    guard node.isBlockDevice, onTheirWay.functions > 0 else { return candidate }
    return node.usedSizeBytes &+ onTheirWay.bytes &+ assignment.sizeBytes <= node.sizeBytes ? candidate : nil
  }

  /// The same for claims of which one comes after the other, in a trial: each leaves less to those behind it.
  private mutating func takePlaceElsewhere(for state: ClaimState) -> Bool {
    guard let candidate = placeElsewhere(for: state), let node = endNodes[candidate.record.id] else { return false }
    let share = share(of: state.specification.used(on: candidate.host), on: node, by: candidate.route.path)
    endNodes.takeShare("for \(state.claim.name)", share, of: node.record.id)
    return true
  }

  /// Where nobody else has a path to what is in use, it would be cut off from the rack for good. One claim for which that is so is
  /// enough to refuse: after a few of them nobody looks for more, and so nobody has to have a turn another time.
  private mutating func checkOtherRoots(of target: Maintained, _ drain: Drain) throws(Refusal) {
    guard case .host(let host) = target else { return }
    beginTrial()
    defer { endTrial(keeping: false) }
    var isAnyPlaced = false
    for id in endNodes.ids(atHost: host) {
      guard let node = endNodes[id], !node.isServed, node.record.isRoot(host), !hasOtherRoot(node, than: host) else {
        continue
      }
      var looks = Self.looksInVain
      var stuck: [String] = []
      var isAllLookedAt = true
      for name in node.shares.keys.compactMap({ claimOfFunction[$0] }).sorted() {
        guard looks > 0 else {
          isAllLookedAt = false
          break
        }
        guard let state = claims[name] else { continue }
        switch fate(of: state, at: target, drain) {
        case .isGoing: continue
        case .stays: stuck.append(name)
        case .leaves, .leavesWhereItFits, .isLeft:
          guard !takePlaceElsewhere(for: state) else {
            isAnyPlaced = true
            continue
          }
          stuck.append(name)
          if isHostOpen(to: state.specification) { looks -= 1 }
        }
      }
      guard !stuck.isEmpty else { continue }
      throw Refusal(
        .failedPrecondition,
        "host '\(host)' is the last one with a path to \(node.record.name), and what these claims have of it fits nowhere else"
          + (isAnyPlaced ? " beside the others: " : ": ")
          + Names.list(stuck.map { "'\($0)'" })
          + (isAllLookedAt ? "" : ", and perhaps further ones that were not looked at")
          + "; delete them, or drain it all the same: --force")
    }
  }

  /// Whether another host that is not cordoned could have the end node in the place of this one.
  func hasOtherRoot(_ node: EndNodeState, than host: String) -> Bool {
    node.record.roots.contains {
      $0.host != host && hosts[$0.host]?.record.cordon == nil && isUsable($0.host, asRootOf: node)
    }
  }
}

extension Drain {
  mutating func setRemaining(_ milliseconds: UInt64, at now: Instant) {
    remainingMilliseconds = milliseconds
    deadline = now.timestamp(afterMilliseconds: milliseconds)
  }

  /// Whether what fits nowhere else is taken away now.
  var isDue: Bool { evict || remainingMilliseconds == 0 }

  fileprivate mutating func count(isMove: Bool) {
    if isMove { moved &+= 1 } else { evicted &+= 1 }
  }
}

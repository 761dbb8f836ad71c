import Messages

/// The clocks of taints that take functions away, and whose turn it is to be looked at.
struct TaintClocks: Sendable {
  private(set) var targets: Set<Maintained> = []
  /// On the arbiter's monotonic clock: since when the ages that are in the records are old.
  private var bases: [Maintained: UInt64] = [:]
  var turns = Turns()

  mutating func follow(_ target: Maintained, _ hasAny: Bool) {
    if hasAny { targets.insert(target) } else { targets.remove(target) }
    if !hasAny { bases[target] = nil }
  }

  /// How much older all of them are by now. What was before this run was asked first does not count.
  mutating func age(of target: Maintained, at now: Instant) -> UInt64 {
    let base = bases[target] ?? now.monotonicMilliseconds
    bases[target] = base
    return now.monotonicMilliseconds - min(base, now.monotonicMilliseconds)
  }

  mutating func rebase(_ target: Maintained, at now: Instant) { bases[target] = now.monotonicMilliseconds }
}

/// A taint is a cordon for claims that do not tolerate it. It has a key, a value and an effect, as users of Kubernetes know them.
extension Arbiter {
  private static var mostTaints: Int { 16 }

  mutating func taint(_ request: TaintRequest, at now: Instant) throws(Refusal) -> MaintenanceAnswer {
    let target = try maintained(request.target)
    for taint in request.set { try checkTaint(taint) }
    growOld(target, at: now, isExact: true)
    let before = taints(of: target)
    var taints = before
    for removed in request.remove {
      let isMeant = { (taint: Taint) in
        taint.key == removed.key && (removed.effect == .unspecified || taint.effect == removed.effect)
      }
      guard before.contains(where: isMeant) else {
        throw Refusal(
          .notFound,
          "\(words(of: target)) has no taint \(Names.shown(removed.key))\(removed.effect.suffix)"
            + (before.isEmpty ? "" : "; it has \(Names.list(before.map(\.words)))"))
      }
      taints.removeAll(where: isMeant)
    }
    for said in request.set {
      var taint = taints.first { $0.key == said.key && $0.effect == said.effect } ?? Taint { $0.since = now.timestamp }
      (taint.key, taint.value, taint.effect) = (said.key, said.value, said.effect)
      taints.removeAll { $0.key == said.key && $0.effect == said.effect }
      taints.append(taint)
    }
    guard taints.count <= Self.mostTaints else {
      throw Refusal(
        .failedPrecondition, "\(words(of: target)) would have \(taints.count) taints; \(Self.mostTaints) are the most")
    }
    taints.sort { ($0.key, $0.effect.rawValue) < ($1.key, $1.effect.rawValue) }
    if taints != before {
      set(taints, of: target)
      changes.save(target.recordKey)
      noteOpening(of: target)
      carryOnTaints(of: target, at: now)
    }
    return answer(target)
  }

  private func checkTaint(_ taint: Taint) throws(Refusal) {
    if let problem = taint.key.problem(as: "key of a taint", isRequired: true)
      ?? taint.value.problem(as: "value of a taint")
    {
      throw Refusal(.invalidArgument, problem)
    }
    guard taint.effect == .noSchedule || taint.effect == .noExecute else {
      throw Refusal(
        .invalidArgument, "the taint \(taint.key) has no effect that is known; known ones: no-schedule, no-execute")
    }
  }

  func validate(_ tolerations: [Toleration]) throws(Refusal) {
    guard tolerations.count <= Self.mostTaints else {
      throw Refusal(.invalidArgument, "\(tolerations.count) tolerations are asked for; \(Self.mostTaints) are the most")
    }
    for toleration in tolerations {
      let problem =
        toleration.key.problem(as: "key of a toleration") ?? toleration.value?.problem(as: "value of a toleration")
      if let problem { throw Refusal(.invalidArgument, problem) }
      if case .unrecognized(let number) = toleration.effect {
        throw Refusal(.invalidArgument, "the effect number \(number) of a toleration is not known")
      }
      if toleration.key.isEmpty, toleration.value != nil {
        throw Refusal(
          .invalidArgument, "a toleration of every taint is asked for, and of one value; name the key of that")
      }
      if toleration.seconds != nil, toleration.effect == .noSchedule {
        throw Refusal(
          .invalidArgument,
          "a toleration of no-schedule for some seconds is asked for; only no-execute takes anything away")
      }
    }
  }

  func taints(of target: Maintained) -> [Taint] {
    switch target {
    case .endNode(let id): endNodes[id]?.record.taints ?? []
    case .host(let name): hosts[name]?.record.taints ?? []
    }
  }

  private mutating func set(_ taints: [Taint], of target: Maintained) {
    switch target {
    case .endNode(let id): endNodes[id]?.record.taints = taints
    case .host(let name): hosts[name]?.record.taints = taints
    }
    followTaints(of: target)
  }

  mutating func followTaints(of target: Maintained) {
    taintClocks.follow(target, taints(of: target).contains { $0.effect == .noExecute })
  }

  // MARK: In placement

  func checkTaints(_ taints: [Taint], _ subject: String, for specification: ClaimSpecification) throws(Drop) {
    guard !taints.isEmpty, let taint = taints.first(where: { !specification.isAdmitted(by: $0) }) else { return }
    throw Drop(.taint, "\(subject) has the taint \(taint.words), and the claim does not tolerate it")
  }

  // MARK: What they take away

  mutating func carryOnTaints(at now: Instant) {
    for target in taintClocks.targets.sorted() { carryOnTaints(of: target, at: now) }
  }

  private mutating func carryOnTaints(of target: Maintained, at now: Instant) {
    guard taintClocks.targets.contains(target) else { return }
    growOld(target, at: now, isExact: false)
    let since = taintClocks.age(of: target, at: now)
    let taints = taints(of: target).filter { $0.effect == .noExecute }
    guard !taints.isEmpty else { return taintClocks.follow(target, false) }
    let names = claims(at: target)
    for name in taintClocks.turns.next(of: names, at: target) {
      guard let state = claims[name], policy(of: state) != .never,
        let taint = taints.first(where: { !state.specification.mayStay(with: $0, ofAge: $0.ageMilliseconds &+ since) })
      else { continue }
      evict(name, because: "\(words(of: target)) has the taint \(taint.words)")
    }
  }

  /// Writes down how old the taints are: once a minute, and before others come.
  private mutating func growOld(_ target: Maintained, at now: Instant, isExact: Bool) {
    guard taintClocks.targets.contains(target) else { return }
    let age = taintClocks.age(of: target, at: now)
    guard age >= 60_000 || (isExact && age > 0) else { return }
    var older = taints(of: target)
    for index in older.indices { older[index].ageMilliseconds &+= age }
    set(older, of: target)
    changes.save(target.recordKey)
    taintClocks.rebase(target, at: now)
  }
}

extension ClaimSpecification {
  /// Whether a taint keeps no new function from it.
  func isAdmitted(by taint: Taint) -> Bool {
    tolerations.contains { $0.matches(taint) && (taint.effect == .noSchedule || $0.seconds == nil) }
  }

  /// Whether a taint lets it keep what it has.
  func mayStay(with taint: Taint, ofAge milliseconds: UInt64) -> Bool {
    tolerations.contains { toleration in
      toleration.matches(taint) && toleration.seconds.map { milliseconds < UInt64($0) * 1000 } ?? true
    }
  }
}

extension Toleration {
  func matches(_ taint: Taint) -> Bool {
    (key.isEmpty || key == taint.key) && (value == nil || value == taint.value)
      && (effect == .unspecified || effect == taint.effect)
  }
}

extension Taint {
  /// "maintenance=disk:no-schedule"
  var words: String { key + (value.isEmpty ? "" : "=\(value)") + effect.suffix }
}

extension TaintEffect {
  fileprivate var suffix: String {
    switch self {
    case .noSchedule: ":no-schedule"
    case .noExecute: ":no-execute"
    case .unspecified, .unrecognized: ""
    }
  }
}

extension String {
  /// What is wrong with a part of a taint; nil if nothing is.
  fileprivate func problem(as part: String, isRequired: Bool = false) -> String? {
    guard !isEmpty else { return isRequired ? "the \(part) must not be empty" : nil }
    guard utf8.count <= 63 else {
      return "the \(part) has at most 63 characters; '\(Names.shown(self))' has \(utf8.count)"
    }
    let others = Set("-_./".utf8)
    let isAllowed = utf8.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || others.contains(byte)
    }
    return isAllowed
      ? nil : "the \(part) is made of letters, digits, '-', '_', '.' and '/'; '\(Names.shown(self))' is not"
  }
}

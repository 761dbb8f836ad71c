import Messages

/// What a host knows of one function, and what it is doing about it.
struct TrackedFunction {
  /// "Not known yet" is not "gone": a plugin that does not answer says nothing about its functions.
  enum Observation {
    case unknown
    case absent
    case present(FunctionStatus)
  }

  enum Activity: Hashable {
    case idle
    case stepping(Verb)
    case waiting(until: Instant)
  }

  /// How far a release has come. Every release goes through all of it, whatever was observed: each verb leaves the token
  /// in the plugin's ledger, so that a delayed duplicate of an earlier verb is refused.
  enum Release: Hashable {
    case notBegun
    /// The function's user cannot reach it any more.
    case cut
    case scrubbed
    /// Destroyed under the token, or disconnected.
    case done
  }

  /// How far the host has let go of the function by itself; see `Reconciler.fenceWithoutLease`.
  enum SelfFence: Hashable {
    case notBegun
    case begun
    /// Its token is spent. It is not set up again under it.
    case done
  }

  let key: FunctionKey
  var deviceClass: String
  var wanted: WantedFunction?
  var observation = Observation.unknown
  var activity = Activity.idle
  var release = Release.notBegun
  var selfFence = SelfFence.notBegun
  /// An entry that contradicts the release, for after it.
  var wantedAgain: WantedFunction?
  var failures = 0
  var error: FunctionError?
  /// How far the cleaning has come that is under way, or that was last.
  var scrub: ScrubState?
  /// What the plugin was last told, and did; nil if another run of the agent told it.
  var applied: Assignment?
  /// The revision of the last entry that was fulfilled.
  var fulfilled: UInt64 = 0
  /// What the step under way, or the last one, carries.
  var sent: Assignment?
  /// When, on the reconciler's own counter, a step last began or ended: an observation that was asked for before that
  /// may be older than the step's answer.
  var touched: UInt64 = 0

  init(key: FunctionKey, deviceClass: String) {
    self.key = key
    self.deviceClass = deviceClass
  }

  var isStepping: Bool {
    if case .stepping = activity { true } else { false }
  }

  var isPresent: Bool {
    if case .present = observation { true } else { false }
  }

  /// In use, and nothing is left to do.
  var isAsWanted: Bool {
    guard wanted?.released == false, case .present(let status) = observation else { return false }
    return status.phase == .inUse && nextVerb == nil
  }

  /// What is next on the way to what is wanted; nil if nothing is.
  var nextVerb: Verb? {
    guard let wanted, let assignment = wanted.assignment else { return nil }
    if wanted.released { return nextReleaseVerb }
    if selfFence != .notBegun { return nextSelfFenceVerb }
    switch observation {
    case .unknown: return nil
    case .absent: return key.role.firstVerb
    case .present(let status):
      switch status.phase {
      case .created: return key.role.useVerb
      case .inUse: return verb(toChange: status, into: assignment)
      case .absent: return key.role.firstVerb
      // Being cleaned under a token that was released: nothing is done under it any more.
      case .scrubbing, .unspecified, .unrecognized: return nil
      }
    }
  }

  /// Ends the step under way; answers what it carried.
  mutating func endStep(at count: UInt64) -> Assignment? {
    activity = .idle
    // From here on the plugin's own word counts.
    scrub = nil
    touched = count
    return sent
  }

  /// Takes a plugin's answer, unless it is not what the verb promises; then it answers what is wrong. A plugin that says
  /// "done" without having done anything must not be asked again and again without a pause.
  mutating func take(_ status: FunctionStatus, after verb: Verb, sent: Assignment?) -> String? {
    guard verb.promises(status.phase) else {
      return "the plugin answered '\(verb.rawValue)' with \(status.phase.protobufName ?? "an unknown phase")"
    }
    // A fencer has no function of its own that could be found later.
    observation = status.phase == .absent || key.role == .fencer ? .absent : .present(status)
    if wanted?.released == false, verb == key.role.cutVerb { selfFence = .done }
    switch verb {
    case _ where wanted?.released == false && !verb.setsUp: break
    case .detach, .unserve, .fence: release = .cut
    case .scrub: release = .scrubbed
    case .disconnect, .destroy: release = .done
    case .create, .attach, .serve, .connect, .configure: applied = sent
    }
    if let state = status.scrub { scrub = state }
    error = nil
    failures = 0
    return nil
  }

  private var nextSelfFenceVerb: Verb? {
    switch observation {
    case .unknown: return nil
    case .present(let status) where status.phase == .inUse: return key.role.cutVerb
    // Cut once, so that the plugin refuses the token from now on.
    case .present, .absent: return selfFence == .done ? nil : key.role.cutVerb
    }
  }

  private var nextReleaseVerb: Verb? {
    switch release {
    case .notBegun: key.role.cutVerb
    // What another root has cut off it cleans as well, and what it cleans may be somebody else's by now.
    case .cut: (isPresent || key.role == .fencer) && wanted?.fenced != true ? .scrub : .destroy
    case .scrubbed: .destroy
    case .done: nil
    }
  }

  /// Parts of a multi-root end node are fenced by taking control of it; a whole one by the fencer itself.
  var needsControl: Bool {
    key.role.hasEndNode || (key.role == .fencer && wanted?.assignment?.path != .direct)
  }

  /// What can change while a function is in use: its rates, and where its server listens.
  private func verb(toChange status: FunctionStatus, into assignment: Assignment) -> Verb? {
    if key.role.hasEndNode {
      let appliedRates = applied.map { Rates($0.attributes) } ?? Rates(status.function?.enforced)
      return appliedRates == Rates(assignment.attributes) ? nil : .configure
    }
    guard let applied, applied.mediation != assignment.mediation else { return nil }
    return .connect
  }
}

/// A rate that is not set is no limit, and so is zero.
private struct Rates: Hashable {
  private var limits: [UInt64]

  init(_ attributes: Attributes?) {
    let (ethernet, block) = (attributes?.ethernet, attributes?.block)
    limits = [
      ethernet?.maxTransmitBitsPerSecond ?? 0, ethernet?.maxReceiveBitsPerSecond ?? 0,
      block?.maxReadOperationsPerSecond ?? 0, block?.maxWriteOperationsPerSecond ?? 0,
      block?.maxReadBytesPerSecond ?? 0, block?.maxWriteBytesPerSecond ?? 0,
      UInt64(block?.burstFactor ?? 0), UInt64(block?.burstSeconds ?? 0),
    ]
  }
}

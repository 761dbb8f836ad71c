import Messages

/// Brings one host's functions to what its coordinator wants of them, one step at a time for each.
///
/// Level-triggered: it looks at what is wanted and what is observed, never at what came last, so that it may be killed
/// between any two steps. It tears nothing down for being missing from the wanted state; only an entry that is released
/// does that, under its token. What it does not know, it leaves alone.
public struct Reconciler: Sendable {
  let host: String
  let bootID: String
  /// Of a leader that this host has obeyed.
  public internal(set) var highestEpoch: UInt64
  /// Of the wanted state that was obeyed last.
  var epoch: UInt64 = 0
  var revision: UInt64 = 0

  var functions: [FunctionKey: TrackedFunction] = [:]
  var keysOfFunction: [String: Set<FunctionKey>] = [:]
  var plugins: [String: PluginRecord]
  var pluginOfClass: [String: String] = [:]
  /// By end node.
  var controls: [String: ControlRecord] = [:]
  var session: Session?
  /// Of the event that is being handled.
  var now = Instant(nanoseconds: 0)
  /// How long the coordinator's words are good; nil before it has spoken to this run of the agent.
  var leaseUntil: Instant?
  /// When the lease of an earlier run of the agent is over, too.
  let formerLeaseUntil: Instant
  /// What cannot be written down, and why.
  var unwritten: [AgentRecord: String] = [:]
  /// What this host lets go of by itself at the end of its lease.
  var selfFencing: Set<FunctionKey> = []

  /// The functions that wait for another attempt.
  var retries: [FunctionKey: Instant] = [:]
  var timer: Instant?
  /// Counts beginnings and ends of steps, and observations asked for.
  var counter: UInt64 = 0

  /// What this event has touched and still has to be looked at.
  var touched: Set<FunctionKey> = []
  var effects: [Effect] = []
  /// Whose entries this event has changed, or taken away.
  var news: Set<FunctionKey> = []
  var dismissed: Set<FunctionKey> = []

  /// A session has brought a lease, and neither it nor a later one has said what is wanted under it.
  var hasOldWords = false

  /// What was said in the session that is open.
  struct Session: Sendable {
    /// Reports answer wanted state, so the first waits for it.
    var hasWantedState = false
    var hasReportedAll = false
    var reported: [FunctionKey: FunctionStatus] = [:]
  }

  /// `plugins` are the names of all that the agent starts: until each of them has been asked once, "not found on this
  /// host" cannot be said of anything. `formerLeaseUntil` is when a lease that an earlier run of the agent had is over for
  /// certain.
  public init(
    host: String, bootID: String, plugins: [String], highestEpoch: UInt64, formerLeaseUntil: Instant
  ) {
    self.host = host
    self.bootID = bootID
    self.highestEpoch = highestEpoch
    self.formerLeaseUntil = formerLeaseUntil
    self.plugins = Dictionary(plugins.map { ($0, PluginRecord()) }, uniquingKeysWith: { first, _ in first })
  }

  public mutating func handle(_ event: Event, at now: Instant) -> [Effect] {
    self.now = now
    switch event {
    case .sessionOpened(let epoch, let leaseUntil): openSession(epoch: epoch, leaseUntil: leaseUntil)
    case .leaseRenewed(let until): renewLease(until: until)
    case .sessionClosed: session = nil
    case .restored(let entries, let selfFenced): restore(entries, selfFenced)
    case .writingFailed(let record, let reason): unwritten[record] = reason
    case .written(let record):
      unwritten[record] = nil
      touched.formUnion(functions.keys)
    case .wanted(let state): take(state)
    case .pluginServing(let plugin, let deviceClass): pluginServes(plugin, deviceClass: deviceClass)
    case .pluginGone(let plugin, let reason): pluginIsGone(plugin, reason: reason)
    case .pluginChanged(let plugin): observe(plugin)
    case .observed(let plugin, let statuses): take(statuses, of: plugin)
    case .observationFailed(let plugin, let draw): observationFailed(plugin, draw: draw, at: now)
    case .controlTaken(let endNode, let token): controlTaken(endNode, token: token)
    case .controlFailed(let endNode, let token, let failure, let draw):
      controlFailed(endNode, token: token, failure, draw: draw, at: now)
    case .stepSucceeded(let key, let status): stepSucceeded(key, status, at: now)
    case .stepFailed(let key, let failure, let draw): stepFailed(key, failure, draw: draw, at: now)
    case .scrubProgressed(let key, let done, let total): scrubProgressed(key, done: done, total: total)
    case .stepWithheld(let key): stepWithheld(key)
    case .timerFired: retryWhatIsDue(at: now)
    }
    fenceWithoutLease()
    if !news.isEmpty { effects.append(.remember(news.sorted().compactMap { functions[$0]?.wanted })) }
    takeControls()
    startSteps()
    report()
    forgetWhatIsGone()
    if !dismissed.isEmpty { effects.append(.forget(dismissed.sorted())) }
    setTimer()
    defer { (effects, news, dismissed) = ([], [], []) }
    return effects
  }

  /// Every function of the host as it would be reported, by key.
  public var statuses: [FunctionStatus] {
    functions.keys.sorted().compactMap { status(of: $0) }
  }

  // MARK: The coordinator

  mutating func obey(_ epoch: UInt64) -> Bool {
    guard epoch >= highestEpoch else {
      effects.append(.refuseCoordinator(epoch: epoch, highestEpoch: highestEpoch))
      return false
    }
    if epoch > highestEpoch {
      highestEpoch = epoch
      effects.append(.persistEpoch(epoch))
    }
    return true
  }

  private mutating func take(_ state: WantedState) {
    guard obey(state.epoch) else { return }
    let isOfSameLeader = state.epoch == epoch
    epoch = state.epoch
    revision = state.revision
    if state.complete {
      session?.hasWantedState = true
      hasOldWords = false
    }

    take(state.controls, isComplete: state.complete)
    var named: Set<FunctionKey> = []
    for entry in state.functions {
      guard let key = FunctionKey(entry) else { continue }
      named.insert(key)
      take(entry, key, isOfSameLeader: isOfSameLeader)
    }
    guard state.complete else { return }
    // What the coordinator does not speak of is not wanted, which is no reason to touch it.
    for (key, function) in functions where function.wanted != nil && !named.contains(key) {
      touchAll(of: key.function)
      functions[key]?.wanted = nil
      dismissed.insert(key)
      functions[key]?.release = .notBegun
      functions[key]?.wantedAgain = nil
      noteLossPolicy(of: key)
      clearFailures(of: key)
    }
  }

  /// Known from the first moment, so that releases go on without a coordinator and what is in use is known as such. Nothing
  /// is set up by it: that takes a lease and new words.
  private mutating func restore(_ entries: [WantedFunction], _ selfFenced: [FunctionKey]) {
    for entry in entries {
      guard let key = FunctionKey(entry) else { continue }
      take(entry, key, isOfSameLeader: false)
    }
    for key in selfFenced where functions[key]?.wanted?.released == false { functions[key]?.selfFence = .begun }
    news = []
  }

  mutating func take(_ entry: WantedFunction, _ key: FunctionKey, isOfSameLeader: Bool) {
    noteUse(by: entry)
    let deviceClass = entry.assignment?.deviceClass ?? ""
    var function = functions[key] ?? newFunction(key, deviceClass: deviceClass)
    if let known = function.wanted {
      // An older word of the same leader. Another leader may count from a store that was restored.
      if isOfSameLeader, entry.revision < known.revision { return }
      // A token that was released is never good again. The release is carried out, and then the plugin is asked all the
      // same: its refusal is what tells a coordinator whose store was restored that the token is spent.
      if known.released, !entry.released {
        functions[key]?.wantedAgain = entry
        return
      }
    }
    if let known = function.wanted, function.nextVerb == nil { function.fulfilled = known.revision }
    let isNews = entry != function.wanted
    function.wanted = entry
    function.wantedAgain = nil
    functions[key] = function
    keysOfFunction[key.function, default: []].insert(key)
    noteLossPolicy(of: key)
    if isNews {
      clearFailures(of: key)
      news.insert(key)
    }
    touchAll(of: key.function)
  }

  /// What no plugin of the class that answers has, is absent.
  private func newFunction(_ key: FunctionKey, deviceClass: String) -> TrackedFunction {
    var function = TrackedFunction(key: key, deviceClass: deviceClass)
    if let plugin = pluginOfClass[deviceClass], let record = plugins[plugin], record.isObserved {
      function.observation = .absent
      // An observation under way may have been answered before the first step on this function begins.
      function.touched = counter
    }
    return function
  }

  mutating func clearFailures(of key: FunctionKey) {
    guard var function = functions[key] else { return }
    function.error = nil
    function.failures = 0
    if case .waiting = function.activity { function.activity = .idle }
    functions[key] = function
    retries[key] = nil
  }
}

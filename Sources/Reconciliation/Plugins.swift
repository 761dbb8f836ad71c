import Messages

/// What the reconciler knows of one plugin.
struct PluginRecord: Sendable {
  enum State: Sendable, Hashable {
    case starting
    case serving
    case gone(reason: String)
  }

  /// An observation that was asked for and not answered yet.
  struct Asked: Sendable {
    /// The reconciler's counter when it was asked for.
    var at: UInt64
    /// Something changed since: the answer may be too old, ask again.
    var again = false
  }

  var state = State.starting
  /// It has served or failed once: more will not be known for now.
  var isSettled = false
  /// Its functions are known, since it serves.
  var isObserved = false
  var asked: Asked?
  var failures = 0
  var askAgainAt: Instant?

  var isServing: Bool { state == .serving }
}

extension Reconciler {
  mutating func pluginServes(_ plugin: String, deviceClass: String) {
    var record = PluginRecord()
    record.state = .serving
    record.isSettled = plugins[plugin]?.isSettled ?? false
    plugins[plugin] = record
    pluginOfClass[deviceClass] = plugin
    askForControlAnew(ofClass: deviceClass)
    observe(plugin)
  }

  /// Its functions stay what they were: kernel objects outlive the process that made them.
  mutating func pluginIsGone(_ plugin: String, reason: String) {
    var record = PluginRecord()
    record.state = .gone(reason: reason)
    record.isSettled = true
    plugins[plugin] = record
    // Also functions of classes that are never served have something to report now.
    touched.formUnion(functions.keys)
  }

  mutating func observe(_ plugin: String) {
    guard var record = plugins[plugin], record.isServing else { return }
    if record.asked != nil {
      record.asked?.again = true
    } else {
      counter += 1
      record.asked = PluginRecord.Asked(at: counter)
      record.askAgainAt = nil
      effects.append(.observe(plugin: plugin))
    }
    plugins[plugin] = record
  }

  mutating func observationFailed(_ plugin: String, draw: Double, at now: Instant) {
    guard var record = plugins[plugin], record.asked != nil else { return }
    record.asked = nil
    record.failures += 1
    let delay = Backoff.delay(afterFailures: record.failures, isPermanent: false, draw: draw)
    record.askAgainAt = now.advanced(by: delay)
    plugins[plugin] = record
  }

  mutating func take(_ statuses: [FunctionStatus], of plugin: String) {
    // An answer that nobody waits for is one of the plugin's former process.
    guard var record = plugins[plugin], let asked = record.asked else { return }
    let isFirst = !record.isObserved
    record.asked = nil
    record.failures = 0
    record.isObserved = true
    record.isSettled = true
    plugins[plugin] = record
    // What the coordinator knows of its functions from another session, and what is not there, it can only be told by a list of
    // all: while the plugin did not serve, nothing was said of them.
    if isFirst { session?.hasReportedAll = false }

    for deviceClass in pluginOfClass.filter({ $0.value == plugin }).keys.sorted() {
      take(statuses, ofClass: deviceClass, askedAt: asked.at, isFirst: isFirst)
    }
    if asked.again { observe(plugin) }
  }

  private mutating func take(
    _ statuses: [FunctionStatus], ofClass deviceClass: String, askedAt: UInt64, isFirst: Bool
  ) {
    var found: [FunctionKey: FunctionStatus] = [:]
    for status in statuses where status.phase != .absent {
      guard let key = FunctionKey(status) else { continue }
      found[key] = status
      if functions[key] == nil {
        functions[key] = TrackedFunction(key: key, deviceClass: deviceClass)
        keysOfFunction[key.function, default: []].insert(key)
      }
    }
    for (key, var function) in functions where function.deviceClass == deviceClass {
      if isFirst { touched.insert(key) }
      // A step's own answer is newer than what was observed before it.
      guard !function.isStepping, function.touched <= askedAt else { continue }
      if let status = found[key] {
        if case .present(status) = function.observation { continue }
        function.observation = .present(status)
      } else {
        if case .absent = function.observation { continue }
        function.observation = .absent
        function.applied = nil
      }
      functions[key] = function
      touchAll(of: key.function)
    }
  }

  /// Other roles and tokens of a function may have waited for this one, and what it takes over from.
  mutating func touchAll(of function: String) {
    let keys = keysOfFunction[function] ?? []
    touched.formUnion(keys)
    for key in keys {
      guard let former = functions[key]?.wanted?.assignment?.takesOver, !former.isEmpty else { continue }
      touched.formUnion(keysOfFunction[former] ?? [])
    }
  }
}

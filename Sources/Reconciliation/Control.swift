import Messages

/// The control of one end node that the coordinator gave to this host: the right to serve and fence its functions.
struct ControlRecord: Sendable {
  enum State: Sendable, Hashable {
    case wanted
    case asking
    case waiting(until: Instant)
    /// The plugin process that serves now has it.
    case inForce
  }

  var deviceClass: String
  var token: UInt64
  /// What may be in force still, and is cut off at a device that several hosts see.
  var former: [FencingToken] = []
  /// Nothing of a multi-root end node is in use: the plugin has yet to let go of the device.
  var unused = false
  /// How many functions of its own the device is to make; nil: the plugin's configuration says so.
  var functionCount: UInt32?
  /// What it was asked with last.
  var asked = ControlRequest()
  var state = State.wanted
  /// The plugin process that serves now has it, and what it is asked besides takes nothing from who uses the device.
  var isHeld = false
  var failures = 0
  /// Of the last attempt.
  var problem: String?

  /// What was said since it was asked is said to it, too.
  var isToBeAskedAgain: Bool { unused && !asked.unused || functionCount != asked.functionCount }
}

extension ControlRecord {
  /// What is said besides the token. While the plugin lets go of the device nothing is set up there; another number of
  /// functions holds nobody up.
  fileprivate mutating func take(_ wanted: WantedControl) {
    unused = wanted.unused
    functionCount = wanted.functionCount
    if unused { isHeld = false }
    if state == .inForce, unused || isToBeAskedAgain { state = .wanted }
  }
}

extension Reconciler {
  /// What a complete state does not speak of is another host's, or nobody's: nothing is set up there that would need it.
  mutating func take(_ wanted: [WantedControl], isComplete: Bool) {
    if isComplete {
      let named = Set(wanted.map(\.endNode))
      for endNode in controls.keys where !named.contains(endNode) { controls[endNode] = nil }
    }
    for control in wanted {
      let token = control.controlToken?.value ?? 0
      guard !control.endNode.isEmpty, token > 0 else { continue }
      if controls[control.endNode]?.token != token {
        controls[control.endNode] = ControlRecord(
          deviceClass: control.deviceClass, token: token, former: control.formerControlTokens)
      }
      controls[control.endNode]?.take(control)
    }
  }

  /// What is set up needs the device, and whoever is cut off is kept out.
  mutating func noteUse(by entry: WantedFunction) {
    guard !entry.released || entry.role == .fencer, let endNode = entry.assignment?.endNode else { return }
    controls[endNode]?.unused = false
  }

  /// Ordered before steps: they wait for it.
  mutating func takeControls() {
    guard controls.values.contains(where: { $0.state == .wanted }), reasonNotToSetUp(at: now) == nil else { return }
    for endNode in controls.keys.sorted() {
      guard let control = controls[endNode], control.state == .wanted,
        let plugin = pluginOfClass[control.deviceClass], plugins[plugin]?.isServing ?? false
      else { continue }
      controls[endNode]?.state = .asking
      var request = ControlRequest()
      request.endNode = endNode
      var token = FencingToken()
      token.value = control.token
      request.controlToken = token
      request.formerControlTokens = control.former
      request.unused = control.unused
      request.functionCount = control.functionCount
      controls[endNode]?.asked = request
      effects.append(.takeControl(plugin: plugin, request))
    }
  }

  /// Another process of a plugin has its memory of control, but whether it can read it is not known.
  mutating func askForControlAnew(ofClass deviceClass: String) {
    for endNode in controls.keys where controls[endNode]?.deviceClass == deviceClass {
      controls[endNode]?.state = .wanted
      controls[endNode]?.isHeld = false
    }
  }

  mutating func controlTaken(_ endNode: String, token: UInt64) {
    guard var control = controls[endNode], control.token == token, control.state == .asking else { return }
    control.state = control.isToBeAskedAgain ? .wanted : .inForce
    control.unused = control.unused && !control.asked.unused
    control.isHeld = !control.unused
    control.problem = nil
    control.failures = 0
    controls[endNode] = control
    touchAll(onEndNode: endNode)
  }

  mutating func controlFailed(_ endNode: String, token: UInt64, _ failure: StepFailure, draw: Double, at now: Instant) {
    guard var control = controls[endNode], control.token == token, control.state == .asking else { return }
    control.failures += 1
    control.problem = failure.message
    let delay = Backoff.delay(afterFailures: control.failures, isPermanent: failure.isPermanent, draw: draw)
    control.state = .waiting(until: now.advanced(by: delay))
    controls[endNode] = control
    touchAll(onEndNode: endNode)
  }

  mutating func retryControls(dueAt now: Instant) {
    for endNode in controls.keys {
      guard case .waiting(let until) = controls[endNode]?.state, until <= now else { continue }
      controls[endNode]?.state = .wanted
    }
  }

  var controlRetries: [Instant] {
    controls.values.compactMap { if case .waiting(let until) = $0.state { until } else { nil } }
  }

  /// Why a function's end node is not this host's to use yet; nil if it is, or if control is not spoken of.
  func lackOfControl(for function: TrackedFunction) -> String? {
    guard function.needsControl, let endNode = function.wanted?.assignment?.endNode,
      let control = controls[endNode], !control.isHeld
    else { return nil }
    let reason = control.problem.map { ": \($0)" } ?? ""
    return "control of \(endNode) under token \(control.token) is not in force yet\(reason)"
  }

  private mutating func touchAll(onEndNode endNode: String) {
    for (key, function) in functions where function.wanted?.assignment?.endNode == endNode { touched.insert(key) }
  }
}

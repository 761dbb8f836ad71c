import Messages
import Testing

@testable import Reconciliation

/// A plugin that refuses what a real one must refuse, and remembers what nobody may do.
struct FakePlugin {
  struct Function {
    var phase: FunctionPhase
    var token: UInt64
    var role: Role
    var attributes: Attributes?
    var wasScrubbed = false
  }

  /// By function id and role.
  var functions: [Place: Function] = [:]
  /// The highest released token of a function.
  var released: [String: UInt64] = [:]
  var violations: [String] = []
  var calls: [String] = []
  /// Another host has cleaned what was on the device.
  var isCutOff = false

  struct Place: Hashable {
    var function: String
    var role: Role
  }

  func observe() -> [FunctionStatus] {
    functions.keys.sorted { ($0.function, $0.role.rawValue) < ($1.function, $1.role.rawValue) }
      .compactMap { status(of: $0) }
  }

  func status(of place: Place) -> FunctionStatus? {
    guard let function = functions[place] else { return nil }
    return makeStatus(
      place.function, place.role, token: function.token, function.phase, attributes: function.attributes)
  }

  mutating func perform(_ step: Step) -> Result<FunctionStatus, RefusedByPlugin> {
    let assignment = step.request.assignment ?? Assignment()
    let place = Place(function: assignment.function, role: step.request.role)
    let token = assignment.token?.value ?? 0
    calls.append("\(step.verb.rawValue) \(assignment.function)")
    let isRelease = [.detach, .unserve, .disconnect, .fence, .scrub, .destroy].contains(step.verb)
    if !isRelease, token <= released[assignment.function] ?? 0 {
      return .failure(RefusedByPlugin(code: 9, message: "token \(token) was released"))
    }
    if let present = functions[place], present.token != token {
      violations.append("\(step.verb.rawValue) of \(place.function) under token \(token), it has \(present.token)")
      return .failure(RefusedByPlugin(code: 9, message: "another token"))
    }
    if isRelease { released[assignment.function] = max(token, released[assignment.function] ?? 0) }
    if let problem = apply(step.verb, place, token, assignment) { return .failure(problem) }
    let absent = makeStatus(place.function, place.role, token: token, .absent)
    return .success(status(of: place) ?? absent)
  }

  private mutating func apply(
    _ verb: Verb, _ place: Place, _ token: UInt64, _ assignment: Assignment
  ) -> RefusedByPlugin? {
    let phase = functions[place]?.phase
    switch verb {
    case .create:
      guard phase == nil else { return nil }
      functions[place] = Function(
        phase: .created, token: token, role: place.role, attributes: assignment.attributes)
    case .attach, .serve:
      guard phase != nil else { return RefusedByPlugin(code: 5, message: "no such function") }
      functions[place]?.phase = .inUse
      functions[place]?.attributes = assignment.attributes
    case .connect:
      functions[place] = Function(phase: .inUse, token: token, role: place.role, attributes: assignment.attributes)
    case .configure:
      guard phase == .inUse else { return RefusedByPlugin(code: 9, message: "not in use") }
      functions[place]?.attributes = assignment.attributes
    case .detach, .unserve:
      guard phase == .inUse else { return nil }
      functions[place]?.phase = .created
    case .disconnect: functions[place] = nil
    case .fence: return nil
    case .scrub:
      if phase == .inUse { violations.append("scrub of \(place.function), which is in use") }
      functions[place]?.wasScrubbed = true
    case .destroy:
      if let function = functions[place], !function.wasScrubbed, !isCutOff {
        violations.append("destroy of \(place.function), which was not scrubbed")
      }
      functions[place] = nil
    }
    return nil
  }
}

struct RefusedByPlugin: Error {
  var code: UInt32
  var message: String
}

func makeStatus(
  _ function: String, _ role: Role, token: UInt64, _ phase: FunctionPhase, attributes: Attributes? = nil
) -> FunctionStatus {
  FunctionStatus {
    $0.role = role
    $0.phase = phase
    $0.function = VirtualFunction {
      $0.id = function
      $0.endNode = "ethernet/a"
      $0.deviceClass = "ethernet"
      $0.token = FencingToken { $0.value = token }
      $0.enforced = attributes
    }
  }
}

func makeEntry(
  _ function: String, _ role: Role = .direct, token: UInt64 = 1, revision: UInt64 = 1, released: Bool = false,
  deviceClass: String = "ethernet", maxTransmit: UInt64? = nil, lossPolicy: LossPolicy = .unspecified
) -> WantedFunction {
  WantedFunction {
    $0.role = role
    $0.revision = revision
    $0.released = released
    $0.assignment = Assignment {
      $0.function = function
      $0.endNode = "ethernet/a"
      $0.deviceClass = deviceClass
      $0.claimUid = "uid"
      $0.lossPolicy = lossPolicy
      $0.token = FencingToken { $0.value = token }
      if let maxTransmit {
        $0.attributes = Attributes {
          $0.ethernet = EthernetAttributes { $0.maxTransmitBitsPerSecond = maxTransmit }
        }
      }
    }
  }
}

func makeWanted(
  _ entries: [WantedFunction], epoch: UInt64 = 1, revision: UInt64 = 1, complete: Bool = true
) -> WantedState {
  WantedState {
    $0.epoch = epoch
    $0.revision = revision
    $0.complete = complete
    $0.functions = entries
  }
}

extension Instant {
  /// In no test's time.
  static let farOff = Instant(nanoseconds: .max / 2)
}

/// A reconciler, its plugin and what it told its coordinator. Effects are carried out when the test says so.
struct FakeHost {
  var reconciler: Reconciler
  var plugin = FakePlugin()
  var now = Instant(nanoseconds: 0)
  var pending: [Effect] = []
  var reports: [FunctionReport] = []
  var timer: Instant?
  var epoch: UInt64 = 0
  var refusals = 0
  /// What outlives the agent.
  var journal: [FunctionKey: WantedFunction] = [:]
  var selfFenced: Set<FunctionKey> = []

  init() { reconciler = Self.makeReconciler(epoch: 0) }

  private static func makeReconciler(epoch: UInt64) -> Reconciler {
    Reconciler(host: "host-a", bootID: "boot", plugins: ["ethernet"], highestEpoch: epoch, formerLeaseUntil: .farOff)
  }

  mutating func handle(_ event: Event) {
    for effect in reconciler.handle(event, at: now) {
      switch effect {
      case .persistEpoch(let epoch): self.epoch = epoch
      case .remember(let entries): for entry in entries { if let key = FunctionKey(entry) { journal[key] = entry } }
      case .forget(let keys): for key in keys { journal[key] = nil }
      case .report(let report): reports.append(report)
      case .setTimer(let instant): timer = instant
      case .refuseCoordinator: refusals += 1
      case .step, .observe, .takeControl: pending.append(effect)
      }
    }
  }

  /// Serves the plugin and opens a session with this wanted state.
  mutating func start(_ wanted: WantedState) {
    handle(.pluginServing(plugin: "ethernet", deviceClass: "ethernet"))
    handle(.sessionOpened(epoch: wanted.epoch, leaseUntil: .farOff))
    handle(.wanted(wanted))
  }

  mutating func performNext(at index: Int = 0) {
    let effect = pending.remove(at: index)
    switch effect {
    case .observe(let name): handle(.observed(plugin: name, plugin.observe()))
    case .takeControl(_, let request):
      let unused = request.unused ? " unused" : ""
      let count = request.functionCount.map { " of \($0)" } ?? ""
      plugin.calls.append("control \(request.endNode) \(request.controlToken?.value ?? 0)\(unused)\(count)")
      handle(.controlTaken(endNode: request.endNode, token: request.controlToken?.value ?? 0))
    case .step(let step):
      guard reconciler.mayBegin(step, at: now) else { return handle(.stepWithheld(step.key)) }
      if !step.verb.setsUp, journal[step.key]?.released == false { selfFenced.insert(step.key) }
      switch plugin.perform(step) {
      case .success(let status): handle(.stepSucceeded(step.key, status))
      case .failure(let refusal):
        handle(.stepFailed(step.key, StepFailure(code: refusal.code, message: refusal.message), draw: 0.5))
      }
    default: return
    }
  }

  /// Carries out everything, and lets time pass while something waits, until nothing is left to do.
  mutating func settle(attempts: Int = 200) {
    for _ in 0..<attempts {
      if !pending.isEmpty {
        performNext()
      } else if let timer {
        now = max(now, timer)
        self.timer = nil
        handle(.timerFired)
      } else {
        return
      }
    }
  }

  /// Carries out what can be done without waiting.
  mutating func performAll() {
    while !pending.isEmpty { performNext() }
  }

  mutating func killAgent() {
    reconciler = Self.makeReconciler(epoch: epoch)
    pending = []
    timer = nil
    let entries = journal.keys.sorted().compactMap { journal[$0] }
    handle(.restored(entries, selfFenced: selfFenced.sorted()))
  }

  /// What the coordinator heard last of a function, over all reports.
  func reported(_ function: String) -> FunctionStatus? {
    reports.flatMap(\.functions).last { $0.function?.id == function }
  }

  func phase(_ function: String, _ role: Role = .direct) -> FunctionPhase? {
    plugin.functions[FakePlugin.Place(function: function, role: role)]?.phase
  }
}

import Services

/// What a plugin author writes: one type, with one method for each verb of `iov.v1.VirtualFunctions`.
///
/// The kit takes care of the rest: the command line, the strict configuration, the socket and who may speak on it, the
/// handshake, fencing tokens and their durable memory, control of end nodes, and order: the verbs of one function run
/// one after the other, those of different functions at the same time.
///
/// Rules for every verb:
///  - **Idempotent.** Asked again, it answers the state that is. `detach` of what is not attached succeeds.
///  - **Read back.** It answers after looking at the system, not after having asked the system.
///  - **Killed at any point.** A plugin process may die in the middle; the next one must be able to carry the verb out, or
///    its opposite. Nothing in use is taken down because the plugin ends: kernel objects and storage daemons stay.
///  - **No blocking.** System calls that can block belong on a thread of their own (`LinuxDevices.BlockingThread`).
///  - **Errors** are `PluginError`s. Everything else that is thrown becomes INTERNAL.
///
/// A verb that has begun runs to its end even if the agent stops waiting, so that it is never cut in the middle; only
/// `scrub` ends early, at its next report of progress.
///
/// The kit fills in what it knows: in a status, the function's identity and token when `function` is nil, and the role; in
/// what was observed, the assignment it was set up by; in an end node, the highest token and the control token.
public protocol FunctionPlugin: Sendable {
  /// The shape of the configuration file. Keys that it does not have are refused with the line they stand in.
  associatedtype PluginConfiguration: Decodable & Sendable

  /// What the plugin is called in agents' configurations and in logs: "ethernet".
  static var name: String { get }
  /// The class of the end nodes it offers: "ethernet", "sata".
  static var deviceClass: String { get }
  /// The plugin's own version.
  static var version: String { get }
  /// A JSON schema of the configuration file, for operators' tools.
  static var configurationSchema: String { get }

  /// Made once, at the agent's handshake. Look for what an earlier process left, and change nothing that is in use.
  init(configuration: PluginConfiguration, context: PluginContext) async throws

  /// What the class can do on this host.
  func describe() -> PluginOffer

  /// The end nodes that are there now.
  func discover() async throws -> [EndNode]
  /// Forgets what was found out before, and tries again what failed: an operator has changed something that no event
  /// tells. `discover` follows.
  func rescan() async throws
  /// A new stream, with an element whenever `discover` or `observe` might answer something else: also when a function was
  /// lost, such as by the end of its daemon, or becomes unhealthy or healthy again. The kit tells the agent each time, and the agent asks for both. Make it with
  /// `.bufferingNewest(1)`.
  func watch() -> AsyncStream<Void>

  /// Problems that would keep the request from being carried out; empty if there are none. Changes nothing.
  func validate(_ request: FunctionRequest) async throws -> [String]

  /// Makes the function, reachable by nobody. Phase CREATED.
  func create(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Unmakes it. Phase ABSENT.
  func destroy(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Hands the function to its consumer on this host. Phase IN_USE, with the arrival.
  func attach(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Takes it back. Phase CREATED; ABSENT when there is no such function.
  func detach(_ request: FunctionRequest) async throws -> FunctionStatus

  /// Serves the function to another host by the assignment's mediator. Phase IN_USE, with the port if there is one.
  func serve(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Stops serving. The answer is proof: nothing that was sent to this function can reach the device any more.
  func unserve(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Connects this host to a function that another one serves. Phase IN_USE, with the arrival. Where the assignment takes over from
  /// another function, what its consumer sees of that one may become this one's; `disconnect` of the former follows, and leaves it alone.
  func connect(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Undoes `connect`, in bounded time, also when the other host is gone. Phase ABSENT.
  func disconnect(_ request: FunctionRequest) async throws -> FunctionStatus

  /// Changes what can change while the function is in use.
  func configure(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Makes the function unusable for its holder, whatever the holder does. The answer is proof. The kit refuses the token
  /// from then on. In the role FENCER the holder is another host, which the device itself cuts off, and `scrub` and `destroy`
  /// follow in that role: see the head of virtual_functions.proto for which tokens give way.
  func fence(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Cleans a function that nobody can reach. `progress` takes bytes done and bytes in total, and throws when the agent
  /// has stopped listening: pass that on.
  func scrub(
    _ request: FunctionRequest, progress: @Sendable (_ done: UInt64, _ total: UInt64) async throws -> Void
  ) async throws -> FunctionStatus

  /// This host is to serve and fence an end node's functions from now on. What is registered at the device under one of the
  /// former tokens is cut off there first, and nothing else is. Only when this has returned is the control token shown as in
  /// force, and does the coordinator take the former controlling host for cut off. Only classes whose devices several hosts
  /// see have something to do here.
  func takeControl(_ request: ControlRequest) async throws

  /// Another number of functions of the device's own is wanted, or none in particular any more: by now
  /// `PluginContext.functionCount(of:)` says so. Make it so where nobody loses a function by that. What keeps the device
  /// from it is no error: it is shown as `FunctionCount.message` or `held`, and what an error says is only logged. The kit
  /// asks for `discover` after it. A new process of the plugin is not asked anew: it begins with the number that is wanted
  /// then. When the last function in use is gone, the plugin does by itself what that kept it from, and tells its
  /// watchers. Only classes whose devices make functions have something to do here.
  func settleFunctionCount(of endNode: String) async throws

  /// All functions found on this host, whoever made them known, each with its function and role filled in. Of one in use: what is wrong
  /// with it, if that can be told (`FunctionStatus.health`). What is not there any more is left out, and set up again.
  func observe() async throws -> [FunctionStatus]
  /// Takes an existing function under the assignment's token.
  func adopt(_ request: FunctionRequest) async throws -> FunctionStatus
  /// Counters as the consumer sees them, of one function or of all.
  func statistics(function: String?) async throws -> [FunctionStatistics]
}

/// The part of a plugin's description that only its author knows.
public struct PluginOffer: Sendable {
  /// How this host can serve functions of its own to others: "vxlan", "nbd".
  public var mediatorsOffered: [String]
  /// How this host can use functions that others serve.
  public var mediatorsAccepted: [String]
  public var capabilities: Capabilities

  public init(mediatorsOffered: [String] = [], mediatorsAccepted: [String] = [], capabilities: Capabilities) {
    self.mediatorsOffered = mediatorsOffered
    self.mediatorsAccepted = mediatorsAccepted
    self.capabilities = capabilities
  }
}

// What a class may lack.
extension FunctionPlugin {
  public func rescan() async throws {}

  public func watch() -> AsyncStream<Void> { AsyncStream { _ in } }

  public func validate(_ request: FunctionRequest) async throws -> [String] { [] }
  public func takeControl(_ request: ControlRequest) async throws {}
  public func settleFunctionCount(of endNode: String) async throws {}

  public func serve(_ request: FunctionRequest) async throws -> FunctionStatus { throw Self.lacks("Serve") }
  public func unserve(_ request: FunctionRequest) async throws -> FunctionStatus { throw Self.lacks("Unserve") }
  public func connect(_ request: FunctionRequest) async throws -> FunctionStatus { throw Self.lacks("Connect") }
  public func disconnect(_ request: FunctionRequest) async throws -> FunctionStatus { throw Self.lacks("Disconnect") }
  public func configure(_ request: FunctionRequest) async throws -> FunctionStatus { throw Self.lacks("Configure") }
  public func adopt(_ request: FunctionRequest) async throws -> FunctionStatus { throw Self.lacks("Adopt") }

  public func scrub(
    _ request: FunctionRequest, progress: @Sendable (_ done: UInt64, _ total: UInt64) async throws -> Void
  ) async throws -> FunctionStatus {
    FunctionStatus(request, .created)
  }

  public func statistics(function: String?) async throws -> [FunctionStatistics] { [] }

  private static func lacks(_ verb: String) -> PluginError {
    PluginError(.unimplemented, "Plugin \(name) \(version) has no verb \(verb).")
  }
}

extension FunctionStatus {
  /// The status of the request's function.
  public init(_ request: FunctionRequest, _ phase: FunctionPhase) {
    self.init()
    function = VirtualFunction(request.assignment ?? Assignment())
    role = request.role
    self.phase = phase
  }
}

extension VirtualFunction {
  /// The function of an assignment, without what was read back from the system.
  public init(_ assignment: Assignment) {
    self.init()
    id = assignment.function
    endNode = assignment.endNode
    deviceClass = assignment.deviceClass
    token = assignment.token
    fenceDomain = assignment.fenceDomain
    claimUid = assignment.claimUid
  }
}

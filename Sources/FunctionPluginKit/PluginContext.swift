import Logging
import Services

/// What a plugin knows about the place it runs in. It is made at the agent's handshake and does not change afterwards.
public struct PluginContext: Sendable {
  /// The agent's name for this host.
  public let hostName: String
  /// The IP address that data listeners may bind; empty: this host neither serves nor uses mediated functions.
  public let mediationAddress: String
  /// A directory of this plugin's own that survives reboots. The kit keeps `tokens.ledger` in it.
  public let stateDirectory: String
  /// A directory of this plugin's own that does not survive reboots: sockets, mount points, process identities. It is
  /// `/run/iov/<host name>/<plugin name>` unless the command line says otherwise; the kit makes it.
  public let runtimeDirectory: String
  /// With which all that functions carry to and from other hosts is secured; nil: it is not.
  public let tls: PluginTLS?
  public let logger: Logger
  private let lookUp: @Sendable (String) -> FunctionRequest?
  private let list: @Sendable () -> [FunctionRequest]
  private let control: @Sendable (String) -> UInt64
  private let count: @Sendable (String) -> UInt32?

  /// The request under which a function was made known to this plugin: its assignment and its part in it. The kit keeps it
  /// durably from the first `create` or `connect` until `destroy` or `disconnect` has succeeded, so a plugin that was
  /// started again learns from here what the objects it finds belong to.
  public func knownFunction(_ id: String) -> FunctionRequest? { lookUp(id) }

  /// All functions that are known, in the order of their ids.
  public var knownFunctions: [FunctionRequest] { list() }

  /// The control token under which this host serves and fences an end node's functions; nil: it was never given any.
  public func controlToken(of endNode: String) -> FencingToken? {
    let token = control(endNode)
    return token == 0 ? nil : FencingToken { $0.value = token }
  }

  /// How many functions of its own an end node's device is to make, as an operator said to the coordinator: it goes before
  /// what the plugin's configuration says. Nil: as that says. It is kept durably, and looked up anew each time, so who
  /// reports it asks once: `ordered` and `wanted` of a `FunctionCount` come from one answer, by which the coordinator
  /// tells that it was taken up.
  public func functionCount(of endNode: String) -> UInt32? { count(endNode) }

  /// For a part of a plugin, which is to know of those functions alone.
  public func knowing(only isKnown: @escaping @Sendable (FunctionRequest) -> Bool) -> PluginContext {
    PluginContext(
      hostName: hostName, mediationAddress: mediationAddress, stateDirectory: stateDirectory,
      runtimeDirectory: runtimeDirectory, tls: tls, logger: logger,
      lookUp: { [lookUp] id in lookUp(id).flatMap { isKnown($0) ? $0 : nil } },
      list: { [list] in list().filter(isKnown) }, control: control, count: count)
  }

  /// Public so that a plugin's tests can make one without an agent.
  public init(
    hostName: String, mediationAddress: String = "", stateDirectory: String, runtimeDirectory: String,
    tls: PluginTLS? = nil, logger: Logger, knownFunctions: @escaping @Sendable () -> [FunctionRequest] = { [] },
    controlToken: @escaping @Sendable (String) -> UInt64 = { _ in 0 },
    functionCount: @escaping @Sendable (String) -> UInt32? = { _ in nil }
  ) {
    self.init(
      hostName: hostName, mediationAddress: mediationAddress, stateDirectory: stateDirectory,
      runtimeDirectory: runtimeDirectory, tls: tls, logger: logger,
      lookUp: { id in knownFunctions().first { $0.assignment?.function == id } }, list: knownFunctions,
      control: controlToken, count: functionCount)
  }

  init(
    hostName: String, mediationAddress: String, stateDirectory: String, runtimeDirectory: String, tls: PluginTLS?,
    logger: Logger, lookUp: @escaping @Sendable (String) -> FunctionRequest?,
    list: @escaping @Sendable () -> [FunctionRequest], control: @escaping @Sendable (String) -> UInt64,
    count: @escaping @Sendable (String) -> UInt32?
  ) {
    self.hostName = hostName
    self.mediationAddress = mediationAddress
    self.stateDirectory = stateDirectory
    self.runtimeDirectory = runtimeDirectory
    self.tls = tls
    self.logger = logger
    self.lookUp = lookUp
    self.list = list
    self.control = control
    self.count = count
  }
}

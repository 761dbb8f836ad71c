import Arbitration
import Configuration
import Logging
import Services

/// The coordinator's configuration file.
public struct CoordinatorConfiguration: Sendable, Decodable {
  /// Where to listen: "127.0.0.1:7100", "[::1]:7100", "unix:/run/iov/coordinator.sock".
  public var listen: [SocketEndpoint]
  /// The coordinator speaks without TLS, so it listens on loopback addresses alone unless this is true.
  public var insecureListenBeyondLoopback: Bool
  public var store: StoreConfiguration
  /// How long a host's word is good.
  public var leaseTermMilliseconds: UInt32
  /// How often an agent renews its lease.
  public var heartbeatIntervalMilliseconds: UInt32
  public var logLevel: Logger.Level
  /// How hosts can be switched off from outside, one agent for a host.
  public var fence: [FenceAgent]
  /// How long after the end of a lease nothing is concluded from silence; no setting for operators.
  var fenceMarginMilliseconds: UInt32 = 5_000

  public struct StoreConfiguration: Sendable, Decodable {
    /// The SQLite file; made if there is none, in a directory that exists.
    public var path: String
  }

  /// Every default, with a store at `path`.
  public init(storePath path: String) {
    listen = [Self.defaultEndpoint]
    insecureListenBeyondLoopback = false
    store = StoreConfiguration(path: path)
    leaseTermMilliseconds = 10_000
    heartbeatIntervalMilliseconds = 3_000
    logLevel = .info
    fence = []
  }

  public static let defaultEndpoint = SocketEndpoint.tcp(host: "127.0.0.1", port: 7100)

  private enum CodingKeys: String, CodingKey {
    case listen, insecureListenBeyondLoopback, store, leaseTermMilliseconds, heartbeatIntervalMilliseconds, logLevel
    case fence
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let endpoints = try values.decodeIfPresent([String].self, forKey: .listen)
    let isInsecure = try values.decodeIfPresent(Bool.self, forKey: .insecureListenBeyondLoopback)
    // Not `decode`: a misspelt key is to be named as such, before the right one is missed.
    let store = try values.decodeIfPresent(StoreConfiguration.self, forKey: .store)
    let term = try values.decodeIfPresent(UInt32.self, forKey: .leaseTermMilliseconds)
    let interval = try values.decodeIfPresent(UInt32.self, forKey: .heartbeatIntervalMilliseconds)
    let level = try values.decodeIfPresent(String.self, forKey: .logLevel)
    fence = try values.decodeIfPresent([FenceAgent].self, forKey: .fence) ?? []

    insecureListenBeyondLoopback = isInsecure ?? false
    listen = try Self.endpoints(endpoints, allowsBeyondLoopback: insecureListenBeyondLoopback)
    self.store = store ?? StoreConfiguration(path: "")
    leaseTermMilliseconds = term ?? 10_000
    heartbeatIntervalMilliseconds = interval ?? max(1, min(3_000, leaseTermMilliseconds / 3))
    try Self.checkLease(term: leaseTermMilliseconds, interval: heartbeatIntervalMilliseconds)
    logLevel = try Self.level(level ?? "info")
    try checkFence()
  }

  private func checkFence() throws {
    for (host, agents) in Dictionary(grouping: fence, by: \.host).sorted(by: { $0.key < $1.key }) where agents.count > 1
    {
      throw InvalidValue("fence names \(agents.count) agents for host '\(host)'; there is one for a host")
    }
  }

  public var arbiterSettings: ArbiterSettings {
    ArbiterSettings(
      leaseTermMilliseconds: leaseTermMilliseconds, heartbeatIntervalMilliseconds: heartbeatIntervalMilliseconds,
      fenceMarginMilliseconds: fenceMarginMilliseconds,
      automaticFenceHosts: Set(fence.filter(\.isAutomatic).map(\.host)))
  }

  /// Reads the file; what must be there is checked after the spelling of what is.
  public static func load(from path: String) throws(ConfigurationError) -> CoordinatorConfiguration {
    let configuration = try Configuration.load(CoordinatorConfiguration.self, from: path)
    try configuration.check(path)
    return configuration
  }

  func check(_ path: String) throws(ConfigurationError) {
    guard !store.path.isEmpty else {
      throw ConfigurationError(
        "\(path): store.path is missing: it names the file that the coordinator keeps its claims in")
    }
  }

  private static func endpoints(_ texts: [String]?, allowsBeyondLoopback: Bool) throws -> [SocketEndpoint] {
    guard let texts else { return [defaultEndpoint] }
    guard !texts.isEmpty else { throw InvalidValue("listen is empty: nobody could reach the coordinator") }
    return try texts.map { text in
      let endpoint: SocketEndpoint
      do {
        endpoint = try SocketEndpoint(parsing: text)
      } catch {
        throw InvalidValue("'\(text)' is nothing to listen on: \(error)")
      }
      guard allowsBeyondLoopback || endpoint.isLocal else {
        throw InvalidValue(
          "\(text) is not a loopback address, and whoever reaches it could do everything, for there is no TLS; listen on "
            + "127.0.0.1, or set insecureListenBeyondLoopback: true where the network is trusted")
      }
      return endpoint
    }
  }

  private static func checkLease(term: UInt32, interval: UInt32) throws {
    guard (100...3_600_000).contains(term) else {
      throw InvalidValue("leaseTermMilliseconds is \(term); it must be 100 to 3600000")
    }
    guard interval > 0, UInt64(interval) * 2 <= UInt64(term) else {
      throw InvalidValue(
        "heartbeatIntervalMilliseconds is \(interval); it must be at most half of leaseTermMilliseconds (\(term)), so that "
          + "one lost heartbeat does not end a lease")
    }
  }

  private static func level(_ text: String) throws -> Logger.Level {
    guard let level = Logger.Level(rawValue: text) else {
      let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
      throw InvalidValue("'\(text)' is no log level; known: \(known)")
    }
    return level
  }
}

extension SocketEndpoint {
  /// Whether only this machine can reach it.
  var isLocal: Bool {
    switch self {
    case .unix: true
    case .tcp(let host, _):
      host == "localhost" || host == "::1" || host == "[::1]"
        || (host.hasPrefix("127.") && host.split(separator: ".").count == 4
          && host.allSatisfy { $0 == "." || $0.isNumber })
    }
  }
}

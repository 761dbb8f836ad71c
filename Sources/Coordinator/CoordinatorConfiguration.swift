import Arbitration
import ClaimStore
import ClusterSecurity
import Configuration
import Logging
import Services

/// The coordinator's configuration file.
public struct CoordinatorConfiguration: Sendable, Decodable {
  /// Where to listen: "127.0.0.1:7100", "[::1]:7100", "unix:/run/iov/coordinator.sock".
  public var listen: [SocketEndpoint]
  /// The certificate that TCP listeners show, and the authority whose certificates they accept.
  public var tls: TLSSettings?
  /// TCP listeners speak plain text, and whoever reaches them may do everything.
  public var plainText: Bool
  public var store: StoreConfiguration
  /// How long a host's word is good.
  public var leaseTermMilliseconds: UInt32
  /// How often an agent renews its lease.
  public var heartbeatIntervalMilliseconds: UInt32
  public var logLevel: Logger.Level
  /// How hosts can be switched off from outside, one agent for a host.
  public var fence: [FenceAgent]
  /// For how long it is kept who held what.
  public var audit: AuditConfiguration
  /// When end nodes whose health changes are left alone.
  public var flapping = FlappingConfiguration()
  /// How long after the end of a lease nothing is concluded from silence; no setting for operators.
  var fenceMarginMilliseconds: UInt32 = 5_000

  public struct StoreConfiguration: Sendable, Decodable {
    /// The SQLite file; made if there is none, in a directory that exists.
    public var path: String
  }

  public struct AuditConfiguration: Sendable, Decodable {
    /// What ended longer ago is forgotten.
    public var keepDays: UInt32 = 365
    /// And of the rest, the oldest ones above this number.
    public var keepHoldings: UInt32 = 1_000_000

    public init() {}

    private enum CodingKeys: String, CodingKey { case keepDays, keepHoldings }

    public init(from decoder: any Decoder) throws {
      let values = try decoder.container(keyedBy: CodingKeys.self)
      keepDays = try values.decodeIfPresent(UInt32.self, forKey: .keepDays) ?? keepDays
      keepHoldings = try values.decodeIfPresent(UInt32.self, forKey: .keepHoldings) ?? keepHoldings
    }

    var retention: AuditRetention {
      AuditRetention(milliseconds: Int64(keepDays) * 86_400_000, holdings: Int(keepHoldings))
    }
  }

  /// Every default, with a store at `path`, on a Unix socket.
  public init(storePath path: String) {
    listen = [Self.defaultEndpoint]
    plainText = false
    store = StoreConfiguration(path: path)
    leaseTermMilliseconds = 10_000
    heartbeatIntervalMilliseconds = 3_000
    logLevel = .info
    fence = []
    audit = AuditConfiguration()
  }

  public static let defaultEndpoint = SocketEndpoint.unix(path: "/run/iov-coordinator/coordinator.sock")

  private enum CodingKeys: String, CodingKey {
    case listen, tls, plainText, store, leaseTermMilliseconds, heartbeatIntervalMilliseconds, logLevel
    case fence, audit, flapping
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let endpoints = try values.decodeIfPresent([String].self, forKey: .listen)
    tls = try values.decodeIfPresent(TLSSettings.self, forKey: .tls)
    plainText = try values.decodeIfPresent(Bool.self, forKey: .plainText) ?? false
    // Not `decode`: a misspelt key is to be named as such, before the right one is missed.
    let store = try values.decodeIfPresent(StoreConfiguration.self, forKey: .store)
    let term = try values.decodeIfPresent(UInt32.self, forKey: .leaseTermMilliseconds)
    let interval = try values.decodeIfPresent(UInt32.self, forKey: .heartbeatIntervalMilliseconds)
    let level = try values.decodeIfPresent(String.self, forKey: .logLevel)
    fence = try values.decodeIfPresent([FenceAgent].self, forKey: .fence) ?? []
    audit = try values.decodeIfPresent(AuditConfiguration.self, forKey: .audit) ?? AuditConfiguration()
    flapping = try values.decodeIfPresent(FlappingConfiguration.self, forKey: .flapping) ?? flapping

    listen = try Self.endpoints(endpoints)
    self.store = store ?? StoreConfiguration(path: "")
    leaseTermMilliseconds = term ?? 10_000
    heartbeatIntervalMilliseconds = interval ?? max(1, min(3_000, leaseTermMilliseconds / 3))
    try Self.checkLease(term: leaseTermMilliseconds, interval: heartbeatIntervalMilliseconds)
    logLevel = try Self.level(level ?? "info")
    try checkFence()
  }

  /// What is wrong with how TCP is secured.
  var securityProblem: String? { TLSSettings.problem(with: tls, plainText: plainText, for: listen) }

  private func checkFence() throws {
    for (host, agents) in Dictionary(grouping: fence, by: \.host).sorted(by: { $0.key < $1.key }) where agents.count > 1
    {
      throw InvalidValue("fence names \(agents.count) agents for host '\(host)'; there is one for a host")
    }
  }

  public var arbiterSettings: ArbiterSettings {
    var settings = ArbiterSettings(
      leaseTermMilliseconds: leaseTermMilliseconds, heartbeatIntervalMilliseconds: heartbeatIntervalMilliseconds,
      fenceMarginMilliseconds: fenceMarginMilliseconds,
      automaticFenceHosts: Set(fence.filter(\.isAutomatic).map(\.host)))
    settings.take(flapping)
    return settings
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
    if let securityProblem { throw ConfigurationError("\(path): \(securityProblem)") }
  }

  private static func endpoints(_ texts: [String]?) throws -> [SocketEndpoint] {
    guard let texts else { return [defaultEndpoint] }
    guard !texts.isEmpty else { throw InvalidValue("listen is empty: nobody could reach the coordinator") }
    return try texts.map { text in
      do {
        return try SocketEndpoint(parsing: text)
      } catch {
        throw InvalidValue("'\(text)' is nothing to listen on: \(error)")
      }
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

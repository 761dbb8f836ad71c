import ClusterSecurity
import Configuration
import Identities
import LinuxDevices
import Logging
import Services

/// The agent's configuration file.
public struct AgentConfiguration: Sendable, Decodable {
  /// The name that this host has in the cluster.
  public var host: String
  public var coordinator: SocketEndpoint
  /// This host's certificate, and the authority whose coordinator it believes.
  public var tls: TLSSettings?
  /// Speak plain text with a coordinator over TCP, and believe whoever answers there.
  public var plainText: Bool
  /// What end-node selectors and operators know the host by.
  public var labels: [String: String]
  /// Where this host serves functions to others and uses functions of others; without it, no mediated path.
  public var mediationAddress: String?
  /// The subject of other hosts' certificates, with `{host}` for the host's name, where an authority of the operator's own
  /// issued them; nil: they are those of `iov pki`.
  public var certificateSubject: String?
  public var plugins: [PluginConfiguration]
  /// What survives a restart: the host's identity, the highest epoch, the plugins' ledgers.
  public var stateDirectory: String
  /// Sockets.
  public var runtimeDirectory: String
  public var logLevel: Logger.Level

  private enum CodingKeys: String, CodingKey {
    case host, coordinator, tls, plainText, labels, mediation, plugins, stateDirectory, runtimeDirectory, logLevel
  }

  private struct Mediation: Decodable {
    var address: String
    var certificateSubject: String?
  }

  public init(
    host: String, coordinator: SocketEndpoint, plugins: [PluginConfiguration], stateDirectory: String,
    runtimeDirectory: String
  ) {
    self.host = host
    self.coordinator = coordinator
    plainText = false
    labels = [:]
    self.plugins = plugins
    self.stateDirectory = stateDirectory
    self.runtimeDirectory = runtimeDirectory
    logLevel = .info
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    host = try values.decode(String.self, forKey: .host)
    let endpoint = try values.decode(String.self, forKey: .coordinator)
    tls = try values.decodeIfPresent(TLSSettings.self, forKey: .tls)
    plainText = try values.decodeIfPresent(Bool.self, forKey: .plainText) ?? false
    labels = try values.decodeIfPresent([String: String].self, forKey: .labels) ?? [:]
    let mediation = try values.decodeIfPresent(Mediation.self, forKey: .mediation)
    mediationAddress = mediation?.address
    certificateSubject = mediation?.certificateSubject
    plugins = try values.decodeIfPresent([PluginConfiguration].self, forKey: .plugins) ?? []
    stateDirectory = try values.decodeIfPresent(String.self, forKey: .stateDirectory) ?? "/var/lib/iov/\(host)"
    runtimeDirectory = try values.decodeIfPresent(String.self, forKey: .runtimeDirectory) ?? "/run/iov/\(host)"
    let level = try values.decodeIfPresent(String.self, forKey: .logLevel) ?? "info"

    guard Self.isName(host) else {
      throw InvalidValue("host is '\(host)'; it must be 1 to 63 lower-case letters, digits and hyphens")
    }
    do {
      coordinator = try SocketEndpoint(parsing: endpoint)
    } catch {
      throw InvalidValue("coordinator: \(error.message)")
    }
    if let mediationAddress, IPAddress(mediationAddress) == nil {
      throw InvalidValue("mediation.address is '\(mediationAddress)', which is no IP address")
    }
    if let certificateSubject, !certificateSubject.contains("{host}") {
      throw InvalidValue(
        "mediation.certificateSubject is '\(certificateSubject)': put {host} where the host's name is in it, such as "
          + "'C=DE,O=Example,CN={host}'")
    }
    guard let level = Logger.Level(rawValue: level) else {
      let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
      throw InvalidValue("logLevel is '\(level)'; known: \(known)")
    }
    logLevel = level
    try checkPlugins()
  }

  /// What hosts' certificates are known by in the cluster, with `{host}` for the host's name.
  public func peerSubject(in cluster: String) -> String {
    certificateSubject ?? CertificateSubject.ofAgents(in: cluster)
  }

  /// Reads the file; how TCP is secured is checked after the spelling of what is there.
  public static func load(from path: String) throws(ConfigurationError) -> AgentConfiguration {
    let configuration = try Configuration.load(AgentConfiguration.self, from: path)
    if let problem = configuration.securityProblem { throw ConfigurationError("\(path): \(problem)") }
    return configuration
  }

  /// What is wrong with how the coordinator is reached over TCP.
  var securityProblem: String? { TLSSettings.problem(with: tls, plainText: plainText, for: [coordinator]) }

  private func checkPlugins() throws {
    var seen: Set<String> = []
    for plugin in plugins {
      guard Self.isName(plugin.name) else {
        throw InvalidValue(
          "a plugin is called '\(plugin.name)'; give it a `name` of 1 to 63 lower-case letters, digits and hyphens")
      }
      guard seen.insert(plugin.name).inserted else {
        throw InvalidValue("two plugins are called '\(plugin.name)'; give one of them another `name`")
      }
      // sun_path holds 108 bytes, the last one a NUL (unix(7)).
      guard socketPath(ofPlugin: plugin.name).utf8.count <= 107 else {
        throw InvalidValue("runtimeDirectory '\(runtimeDirectory)' is too long for a Unix socket below it")
      }
    }
  }

  func socketPath(ofPlugin name: String) -> String { "\(runtimeDirectory)/plugins/\(name).sock" }
  func runtimeDirectory(ofPlugin name: String) -> String { "\(runtimeDirectory)/plugins/\(name)" }
  func stateDirectory(ofPlugin name: String) -> String { "\(stateDirectory)/plugins/\(name)" }

  private static func isName(_ text: String) -> Bool {
    (1...63).contains(text.utf8.count)
      && text.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
  }

  /// What would keep the agent from working as configured, beyond what the file says itself.
  public func problems() -> [String] {
    [problemWithCertificate()].compactMap { $0 } + problemsWithPlugins()
  }

  /// Blocks on the disk.
  public func problemWithCertificate() -> String? {
    do {
      guard let identity = try tls?.client().identity, identity.role != .agent(host: host) else { return nil }
      return "the certificate in tls is for \(identity), and this is host '\(host)': issue one with "
        + "`iov pki issue agent \(host)`, or correct `host`"
    } catch {
      return "\(error)"
    }
  }

  public func problemsWithPlugins() -> [String] {
    plugins.flatMap { plugin in
      [plugin.problemWithExecutable(), plugin.problemWithConfiguration()].compactMap { $0 }
    }
  }
}

/// One plugin that the agent starts and supervises.
public struct PluginConfiguration: Sendable, Hashable, Decodable {
  /// What logs and errors call it; default: the last part of the executable's path.
  public var name: String
  public var executable: String
  /// The plugin's own configuration file.
  public var configuration: String
  /// More arguments, before the agent's own.
  public var arguments: [String]
  /// If given, a plugin of another class is refused.
  public var deviceClass: String?

  private enum CodingKeys: String, CodingKey {
    case name, executable, configuration, arguments, deviceClass
  }

  public init(name: String, executable: String, configuration: String, arguments: [String] = []) {
    self.name = name
    self.executable = executable
    self.configuration = configuration
    self.arguments = arguments
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let name = try values.decodeIfPresent(String.self, forKey: .name)
    executable = try values.decode(String.self, forKey: .executable)
    configuration = try values.decode(String.self, forKey: .configuration)
    arguments = try values.decodeIfPresent([String].self, forKey: .arguments) ?? []
    deviceClass = try values.decodeIfPresent(String.self, forKey: .deviceClass)
    let lastPart = executable.split(separator: "/").last.map(String.init) ?? ""
    self.name = name ?? lastPart
    guard executable.hasPrefix("/") else {
      throw InvalidValue("executable is '\(executable)'; give its whole path, from /")
    }
  }
}

/// The command line that the agent gives a plugin.
struct PluginArguments: Sendable, Hashable {
  enum Socket: Sendable, Hashable {
    /// Inherited, and listening already.
    case descriptor(CInt)
    case path(String)
  }

  var socket: Socket
  var configuration: String
  var stateDirectory: String
  var runtimeDirectory: String?
  var parentPipe: CInt?
  var tls: PluginTLS?

  static let usage = """
    Usage: PLUGIN (--socket-fd N | --socket PATH) --configuration FILE --state-directory DIR
                  [--runtime-directory DIR] [--parent-pipe-fd N]
                  [--tls-certificate FILE --tls-key FILE --tls-trust-roots FILE --tls-peer-subject SUBJECT]
           PLUGIN --schema | --version

      --socket-fd N            serve on this inherited, listening Unix socket
      --socket PATH            serve on this Unix socket; its directory must exist
      --configuration FILE     YAML; --schema prints its JSON schema
      --state-directory DIR    survives reboots; made if it is not there
      --runtime-directory DIR  does not survive reboots; default: /run/iov/<host>/<plugin>
      --parent-pipe-fd N       end when this pipe's other end is closed; functions in use stay as they are

    With these four, all that functions carry to and from other hosts goes over TLS, and both sides show certificates:

      --tls-certificate FILE   this host's certificate (PEM), and those that lead to an authority
      --tls-key FILE           its key
      --tls-trust-roots FILE   the authorities that are believed
      --tls-peer-subject TEXT  the subject of other hosts' certificates as GnuTLS writes it, with {host} for the host's name
    """

  /// - Parameter arguments: without the program's name.
  init(parsing arguments: [String]) throws(UsageError) {
    var socket: Socket?
    var values: [String: String] = [:]
    let options =
      [
        "--socket-fd", "--socket", "--configuration", "--state-directory", "--runtime-directory", "--parent-pipe-fd",
      ] + Self.tlsOptions
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let option = parts[0]
      guard options.contains(option) else { throw UsageError("unknown argument '\(argument)'") }
      guard let value = parts.count == 2 ? parts[1] : rest.popFirst(), !value.isEmpty else {
        throw UsageError("\(option) needs a value")
      }
      guard values.updateValue(value, forKey: option) == nil else { throw UsageError("\(option) is given twice") }
      if option == "--socket" { socket = .path(value) }
      if option == "--socket-fd" { socket = .descriptor(try Self.descriptor(value, option)) }
    }
    guard let socket else { throw UsageError("one of --socket-fd and --socket is needed") }
    guard values["--socket"] == nil || values["--socket-fd"] == nil else {
      throw UsageError("--socket-fd and --socket exclude each other")
    }
    guard let configuration = values["--configuration"] else { throw UsageError("--configuration is needed") }
    guard let stateDirectory = values["--state-directory"] else { throw UsageError("--state-directory is needed") }
    self.socket = socket
    self.configuration = configuration
    self.stateDirectory = stateDirectory
    runtimeDirectory = values["--runtime-directory"]
    if let pipe = values["--parent-pipe-fd"] { parentPipe = try Self.descriptor(pipe, "--parent-pipe-fd") }
    tls = try Self.tls(values)
  }

  private static let tlsOptions = ["--tls-certificate", "--tls-key", "--tls-trust-roots", "--tls-peer-subject"]

  /// All or none: a plugin that was given a part must not go without TLS.
  private static func tls(_ values: [String: String]) throws(UsageError) -> PluginTLS? {
    let found = tlsOptions.compactMap { values[$0] }
    if found.isEmpty { return nil }
    guard found.count == tlsOptions.count else {
      throw UsageError("\(tlsOptions.joined(separator: ", ")) come together")
    }
    guard found[3].contains(PluginTLS.hostPlaceholder) else {
      throw UsageError("--tls-peer-subject needs \(PluginTLS.hostPlaceholder) where the host's name is")
    }
    return PluginTLS(certificate: found[0], key: found[1], trustRoots: found[2], peerSubject: found[3])
  }

  private static func descriptor(_ text: String, _ option: String) throws(UsageError) -> CInt {
    guard let number = CInt(text), number >= 0 else { throw UsageError("\(option) needs a descriptor, not '\(text)'") }
    return number
  }
}

/// A command line that cannot be understood.
struct UsageError: Error, Hashable, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

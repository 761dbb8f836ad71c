/// How the program is called:
///
///     iov-nbd-client DIRECTORY --backend NAME --export NAME [--address ADDRESS --port PORT | --socket PATH] [--tls] [--read-only]
struct Arguments: Sendable, Hashable {
  /// Of the function: certificates lie there, and what was connected is written there.
  var directory: String
  var backend: String
  var export: String
  var place: ServerConnection.Place
  var isSecured: Bool
  var isReadOnly: Bool

  /// Nil: it is called in another way.
  init?(_ words: [String]) {
    guard let directory = words.first else { return nil }
    var values: [String: String] = [:]
    var flags: Set<String> = []
    var rest = words.dropFirst()
    while let word = rest.popFirst() {
      switch word {
      case "--tls", "--read-only": flags.insert(word)
      case "--backend", "--export", "--address", "--port", "--socket":
        guard let value = rest.popFirst() else { return nil }
        values[word] = value
      default: return nil
      }
    }
    guard let backend = values["--backend"], let export = values["--export"] else { return nil }
    if let path = values["--socket"] {
      place = .socket(path: path)
    } else if let address = values["--address"], let port = values["--port"].flatMap({ UInt16($0) }) {
      place = .host(address: address, port: port)
    } else {
      return nil
    }
    self.directory = directory
    self.backend = backend
    self.export = export
    isSecured = flags.contains("--tls")
    isReadOnly = flags.contains("--read-only")
  }
}

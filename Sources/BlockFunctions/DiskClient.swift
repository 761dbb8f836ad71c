import FunctionPluginKit
import LinuxDevices

/// What makes a block device of this host of a disk that a storage daemon serves. Its methods block.
protocol DiskClient: Sendable {
  /// Its process; nil when there is none.
  var process: ProcessHandle? { get }
  /// The device, found without asking whoever is behind it, who may be dead.
  var device: String? { get }
  /// What the kernel says of the device.
  func measures() throws -> (sizeBytes: UInt64, isReadOnly: Bool)?
  func start(_ export: ExportPlace) throws
  /// Ends it, whether the server answers or not and whether somebody holds the device open or not, and proves it. Whoever holds
  /// it open keeps a device without anything behind it.
  func end() throws
}

/// Where a storage daemon serves a function.
enum ExportPlace: Sendable, Hashable {
  case here(socket: String)
  case host(address: String, port: UInt32, export: String, certificates: String?)

  /// For libnbd, which takes `nbds` for TLS or nothing, and looks for the address that it dials among the server's names.
  var uri: String {
    switch self {
    case .here(let socket): return "nbd+unix:///function?socket=\(Self.percentEncoded(socket))"
    case .host(let address, let port, let export, let certificates):
      let host = address.contains(":") ? "[\(address)]" : address
      let place = "\(host):\(port)/\(Self.percentEncoded(export))"
      return certificates.map { "nbds://\(place)?tls-certificates=\(Self.percentEncoded($0))" } ?? "nbd://\(place)"
    }
  }

  var isSecured: Bool { if case .host(_, _, _, .some) = self { true } else { false } }

  /// Without how it is secured.
  static func place(of uri: String) -> Substring {
    let place = uri.firstRange(of: "://").map { uri[$0.upperBound...] } ?? uri[...]
    return place.prefix { $0 != "?" }
  }

  private static func percentEncoded(_ name: String) -> String {
    let digits = Array("0123456789ABCDEF")
    return name.utf8.map { byte -> String in
      let character = Character(Unicode.Scalar(byte))
      if character.isASCII && (character.isLetter || character.isNumber || "-._~/".contains(character)) {
        return String(character)
      }
      return "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
    }.joined()
  }
}

extension ChildProcess {
  /// Until the program has written `file`, by which it says that it is ready.
  func wait(named program: String, toWrite file: String) throws {
    let limit = 10_000
    for _ in 0..<limit {
      if SmallFile.text(file) != nil { return reapAtItsEnd() }
      if let status = handle.blockUntilExit(milliseconds: 1) { throw ProgramEnded(program: program, status: status) }
    }
    reapAtItsEnd()
    throw PluginError(.unavailable, "\(program) was not ready after \(limit) ms")
  }
}

/// Before it was ready.
struct ProgramEnded: Error, CustomStringConvertible {
  let program: String
  let status: ExitStatus
  var description: String { "\(program) ended with \(status)" }
}

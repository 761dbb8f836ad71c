import Glibc
import LinuxDevices
import Services

/// A plugin for the agent's tests, in a process of its own. Its functions are files in its state directory, so that they
/// outlive it, as kernel objects do. Its configuration file holds words that say how to misbehave.
@main
struct TestPlugin {
  static func main() async throws {
    let options = Options(CommandLine.arguments)
    let words = try Files.read(options["--configuration"] ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
    if words.contains("complain") { Files.complain("the device is on fire") }
    if words.contains("exit") { exit(3) }
    if words.contains("silent") { while true { pause() } }
    let state = options["--state-directory"] ?? "."
    try Files.write("\(getpid())", to: "\(state)/pid")
    endWithParent(CInt(options["--parent-pipe-fd"] ?? "") ?? -1)

    let server = RPCServer(services: [TestFunctions(state: state, words: words)])
    try await server.serve(listeningSocket: CInt(options["--socket-fd"] ?? "") ?? -1)
    try await server.run()
  }

  private static func endWithParent(_ pipe: CInt) {
    var thread = pthread_t()
    let argument = UnsafeMutableRawPointer(bitPattern: UInt(bitPattern: Int(pipe)))
    pthread_create(
      &thread, nil,
      { argument in
        var byte: UInt8 = 0
        while read(CInt(Int(bitPattern: argument)), &byte, 1) > 0 {}
        exit(0)
      }, argument)
  }
}

struct Options {
  private var values: [String: String] = [:]

  init(_ arguments: [String]) {
    for (name, value) in zip(arguments, arguments.dropFirst()) where name.hasPrefix("--") { values[name] = value }
  }

  subscript(name: String) -> String? { values[name] }
}

enum Files {
  static func read(_ path: String) throws -> String {
    guard let file = fopen(path, "r") else { throw RPCError(.notFound, path) }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  static func write(_ text: String, to path: String) throws {
    guard let file = fopen(path + ".new", "w") else { throw RPCError(.internalError, path) }
    fputs(text, file)
    fclose(file)
    rename(path + ".new", path)
  }

  static func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      names.append(
        withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        })
    }
    return names.sorted()
  }

  /// If there is a pipe of this name, waits until somebody has opened and closed its other end.
  static func hold(_ path: String) async throws {
    guard access(path, F_OK) == 0 else { return }
    try await BlockingThread.detached {
      guard let pipe = try? FileDescriptor(opening: path, O_RDONLY) else { return }
      var byte: UInt8 = 0
      while Glibc.read(pipe.number, &byte, 1) > 0 {}
    }
  }

  /// What stands behind the program's own bytes after "version=", or "1".
  static let programVersion: String = {
    guard let file = try? FileDescriptor(opening: "/proc/self/exe", O_RDONLY) else { return "1" }
    lseek(file.number, -16, SEEK_END)
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = Glibc.read(file.number, &bytes, bytes.count)
    let words = String(decoding: bytes[..<max(0, count)], as: UTF8.self).split(separator: "=")
    return words.count == 2 && words[0].hasSuffix("version") ? String(words[1]) : "1"
  }()

  static func complain(_ text: String) {
    _ = Array((text + "\n").utf8).withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count) }
  }
}

import FunctionPluginKit
import Glibc
import LinuxDevices
import Testing

@testable import iov_plugin_ethernet

@Suite struct FunctionTableTests {
  private let path: String

  init() throws {
    path = try TemporaryPath.make()
  }

  private func table() throws -> FunctionTable { try FunctionTable(path: path + "/functions") }

  @Test func noTwoFunctionsHaveOne() throws {
    defer { TemporaryPath.remove(path) }
    let table = try table()
    let indexes = try ["a", "b", "c"].map { try table.allocate($0, of: "card", among: [0, 1, 2]) }
    #expect(indexes == [0, 1, 2])
    #expect(try table.allocate("d", of: "card", among: [0, 1, 2]) == nil)
    // Asked again, the same; of another card, its own.
    #expect(try table.allocate("b", of: "card", among: []) == 1)
    #expect(try table.allocate("d", of: "other", among: [0]) == 0)
  }

  @Test func whatWasGivenOutlivesTheProcess() throws {
    defer { TemporaryPath.remove(path) }
    do {
      let table = try table()
      _ = try table.allocate("a", of: "card", among: [3, 4])
      _ = try table.allocate("b", of: "card", among: [3, 4])
      try table.release("a")
      try table.remember(driver: "igbvf", of: "card")
    }
    let again = try table()
    #expect(again.functions == ["b"])
    #expect(again["b"] == FunctionTable.Entry(endNode: "card", index: 4))
    #expect(again.holders(of: "card") == [4: "b"])
    #expect(again.driver(of: "card") == "igbvf")
    #expect(try again.allocate("c", of: "card", among: [3, 4]) == 3)
  }

  @Test func aDamagedTableIsNotGuessedAt() throws {
    defer { TemporaryPath.remove(path) }
    let table = try table()
    _ = try table.allocate("a", of: "card", among: [0])
    _ = try table.allocate("b", of: "card", among: [1])
    var bytes = try SmallFile.read(path + "/functions")
    bytes[12] ^= 1
    try SmallFile.replace(path + "/functions", with: bytes)
    let error = #expect(throws: PluginError.self) { try FunctionTable(path: path + "/functions") }
    #expect(error?.message.contains("damaged") == true)
  }

  @Test func aHostWithoutSuchACardHasNoFile() throws {
    defer { TemporaryPath.remove(path) }
    let table = try table()
    #expect(table["a"] == nil)
    try table.release("a")
    #expect(SmallFile.names(in: path).isEmpty)
  }
}

/// A directory of a test's own.
enum TemporaryPath {
  static func make() throws -> String {
    var template = Array("/tmp/iov-ethernet-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemCallError("make a directory", errno: errno) }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  static func remove(_ path: String) {
    for name in SmallFile.names(in: path) { unlink("\(path)/\(name)") }
    rmdir(path)
  }
}

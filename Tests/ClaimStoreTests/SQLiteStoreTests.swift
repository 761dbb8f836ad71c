import Foundation
import GRDB
import Messages
import Testing

@testable import ClaimStore

@Suite struct SQLiteStoreTests {
  private func reason(opening path: String) -> StoreError? {
    do throws(StoreError) {
      try SQLiteStore(path: path).close()
      return nil
    } catch {
      return error
    }
  }

  @Test func everyCommitReachesTheDisk() throws {
    let directory = try TemporaryDirectory()
    let store = try SQLiteStore(path: directory.file("claims.sqlite"))
    let durability = try store.durability()
    #expect(durability.synchronous == 2)
    #expect(durability.journalMode == "wal")
    store.close()
  }

  @Test func aStoreThatWasNotClosedIsWhole() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let store = try SQLiteStore(path: path)
    try store.commit([.put(StoreKey(kind: "claim", name: "a"), Claim { $0.name = "a" })])
    // What a killed coordinator leaves behind: the database and its log as they are.
    let copy = directory.file("copy.sqlite")
    for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: path + suffix, toPath: copy + suffix) }
    let recovered = try SQLiteStore(path: copy)
    #expect(try recovered.load().map(\.key.name) == ["a"])
    recovered.close()
    store.close()
  }

  @Test func aFileThatIsNoDatabaseIsDamaged() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    try Data(repeating: 0x41, count: 8192).write(to: URL(fileURLWithPath: path))
    #expect(reason(opening: path)?.reason == .damaged)
    #expect(reason(opening: path)?.description.contains(path) == true)
  }

  @Test func aDamagedPageIsFoundAtTheStart() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let store = try SQLiteStore(path: path)
    for number in 0..<500 {
      try store.commit([.put(StoreKey(kind: "claim", name: "\(number)"), Claim { $0.name = "claim-\(number)" })])
    }
    store.close()
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(bytes.count > 6 * 4096)
    bytes.replaceSubrange(5 * 4096..<6 * 4096, with: Data(repeating: 0xA5, count: 4096))
    try bytes.write(to: URL(fileURLWithPath: path))
    #expect(reason(opening: path)?.reason == .damaged)
  }

  @Test func anotherProgramsDatabaseIsLeftAlone() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("other.sqlite")
    let other = try DatabaseQueue(path: path)
    try other.write { try $0.execute(sql: "CREATE TABLE recipe (name TEXT)") }
    try other.close()
    let before = FileManager.default.contents(atPath: path)
    #expect(reason(opening: path)?.reason == .foreign)
    #expect(reason(opening: path)?.description.contains("another program") == true)
    #expect(FileManager.default.contents(atPath: path) == before)
  }

  @Test func aLayoutOfALaterVersionIsLeftAlone() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    try SQLiteStore(path: path).close()
    let queue = try DatabaseQueue(path: path)
    try queue.write { try $0.execute(sql: "PRAGMA user_version = 99") }
    try queue.close()
    #expect(reason(opening: path)?.reason == .newerSchema)
    #expect(reason(opening: path)?.description.contains("layout 99") == true)
  }

  @Test func aWayThatDoesNotExistIsNamed() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("missing/claims.sqlite")
    #expect(reason(opening: path)?.reason == .unreachable)
    #expect(reason(opening: path)?.description.contains("No such file or directory") == true)
    // A directory where the file should be.
    #expect(reason(opening: directory.path)?.reason == .unreachable)
  }
}

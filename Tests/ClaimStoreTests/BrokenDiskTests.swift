import ClaimStore
import Foundation
import Messages
import Testing

/// Disks that fill up, turn read-only, or give back something else than was written.
@Suite struct BrokenDiskTests {
  private func error(_ body: () throws -> Void) -> StoreError? {
    do {
      try body()
      return nil
    } catch {
      return error as? StoreError
    }
  }

  private func put(_ name: String, in store: any ClaimStore) throws {
    let claim = Claim {
      $0.name = name
      $0.uid = String(repeating: "u", count: 600)
    }
    try store.commit([.put(StoreKey(kind: "claim", name: name), claim)])
  }

  // MARK: No space

  @Test(.enabled(if: SmallFileSystem.isPossible, "mounting a tmpfs needs root"))
  func onAFullDiskNothingIsAcknowledgedThatIsNotStored() throws {
    let disk = try SmallFileSystem(kibibytes: 256)
    let store = try SQLiteStore(path: disk.file("claims.sqlite"))
    var acknowledged: [String] = []
    let failure = error {
      for number in 0..<10_000 {
        try put("claim-\(number)", in: store)
        acknowledged.append("claim-\(number)")
      }
    }
    #expect(failure?.reason == .full)
    #expect(failure?.description.contains("KiB are free in \(disk.path)") == true)
    #expect(failure?.description.contains("make space there, then start the coordinator again") == true)
    #expect(acknowledged.count > 5)
    store.close()

    disk.resize(kibibytes: 4096)
    let again = try SQLiteStore(path: disk.file("claims.sqlite"))
    #expect(Set(try again.load().map(\.key.name)) == Set(acknowledged))
    try put("one-more", in: again)
    again.close()
  }

  @Test(.enabled(if: SmallFileSystem.isPossible, "mounting a tmpfs needs root"))
  func aStoreDoesNotOpenOnAFullDiskAndSaysWhy() throws {
    let disk = try SmallFileSystem(kibibytes: 128)
    try SQLiteStore(path: disk.file("claims.sqlite")).close()
    try Data().write(to: URL(fileURLWithPath: disk.file("filler")))
    let filler = try FileHandle(forWritingTo: URL(fileURLWithPath: disk.file("filler")))
    #expect(throws: (any Error).self) { while true { try filler.write(contentsOf: Data(count: 4096)) } }
    let failure = error { _ = try SQLiteStore(path: disk.file("claims.sqlite")) }
    #expect(failure?.reason == .full, "\(failure.debugDescription)")
    #expect(failure?.description.contains("make space") == true)
    try filler.close()
    try FileManager.default.removeItem(atPath: disk.file("filler"))
    try SQLiteStore(path: disk.file("claims.sqlite")).close()
  }

  @Test(.enabled(if: SmallFileSystem.isPossible, "mounting a tmpfs needs root"))
  func aBackupLeavesTheStoreItsSpace() throws {
    let disk = try SmallFileSystem(kibibytes: 1100)
    let store = try SQLiteStore(path: disk.file("claims.sqlite"))
    for number in 0..<20 { try put("claim-\(number)", in: store) }
    let failure = error { _ = try store.copy() }
    #expect(failure?.reason == .full)
    #expect(failure?.description.contains("make space there") == true)
    try put("one-more", in: store)
    store.close()
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: disk.path).sorted() == [
        "claims.sqlite", "claims.sqlite-lock",
      ])
  }

  // MARK: Read-only

  @Test(.enabled(if: SmallFileSystem.isPossible, "mounting a tmpfs needs root"))
  func aReadOnlyDirectoryIsRefused() throws {
    let disk = try SmallFileSystem(kibibytes: 512)
    try SQLiteStore(path: disk.file("claims.sqlite")).close()
    disk.makeReadOnly()
    let failure = error { _ = try SQLiteStore(path: disk.file("claims.sqlite")) }
    #expect(failure?.reason == .readOnly)
    #expect(failure?.description.contains("dmesg") == true)
  }

  @Test(.enabled(if: SmallFileSystem.isPossible, "mounting a tmpfs needs root"))
  func aReadOnlyFileIsRefused() throws {
    let disk = try SmallFileSystem(kibibytes: 512)
    try SQLiteStore(path: disk.file("claims.sqlite")).close()
    disk.makeReadOnly("claims.sqlite")
    let failure = error { _ = try SQLiteStore(path: disk.file("claims.sqlite")) }
    #expect(failure?.reason == .readOnly, "\(failure.debugDescription)")
    #expect(failure?.description.contains("start again") == true)
  }

  // MARK: Damage

  /// Ways to damage the database of 30 and more pages.
  enum Damage: String, CaseIterable {
    case truncatedToHalf, truncatedToNothing, removed, garbagePage, garbageHeader, garbageEverywhere
  }

  @Test(arguments: Damage.allCases)
  func aDamagedFileIsRefusedWithTheWayBack(_ damage: Damage) throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let store = try SQLiteStore(path: path)
    for number in 0..<200 { try put("claim-\(number)", in: store) }
    store.close()
    try carryOut(damage, on: path)
    let before = FileManager.default.contents(atPath: path)
    let failure = error { _ = try SQLiteStore(path: path) }
    #expect(failure?.reason == .damaged)
    #expect(failure?.description.contains("--restore BACKUP") == true)
    #expect(FileManager.default.contents(atPath: path) == before)
    if damage == .removed || damage == .truncatedToNothing {
      #expect(failure?.description.contains("held cluster \(store.clusterID)") == true)
      try FileManager.default.removeItem(atPath: path + "-lock")
      try SQLiteStore(path: path).close()
    }
  }

  private func carryOut(_ damage: Damage, on path: String) throws {
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(bytes.count > 30 * 4096)
    switch damage {
    case .truncatedToHalf: bytes = bytes.prefix(25 * 4096 + 100)
    case .truncatedToNothing: bytes = Data()
    case .removed: return try FileManager.default.removeItem(atPath: path)
    case .garbagePage: bytes.replaceSubrange(7 * 4096..<8 * 4096, with: Data(repeating: 0xA5, count: 4096))
    case .garbageHeader: bytes.replaceSubrange(0..<100, with: Data(repeating: 0xA5, count: 100))
    case .garbageEverywhere: bytes = Data(repeating: 0xA5, count: bytes.count)
    }
    try bytes.write(to: URL(fileURLWithPath: path))
  }

  /// What a killed coordinator leaves: a database with some commits in its log, one log frame or more for each.
  private func killedStore(in directory: TemporaryDirectory) throws -> (path: String, log: Data) {
    let original = directory.file("original.sqlite")
    let store = try SQLiteStore(path: original)
    for number in 0..<10 { try put("claim-\(number)", in: store) }
    let path = directory.file("claims.sqlite")
    for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: original + suffix, toPath: path + suffix) }
    store.close()
    return (path, try Data(contentsOf: URL(fileURLWithPath: path + "-wal")))
  }

  @Test func aLogThatIsWholeIsTaken() throws {
    let directory = try TemporaryDirectory()
    let (path, _) = try killedStore(in: directory)
    let store = try SQLiteStore(path: path)
    #expect(try store.load().count == 10)
    store.close()
  }

  @Test func aCommitThatThePowerFailureCutShortIsLeftOut() throws {
    let directory = try TemporaryDirectory()
    let (path, log) = try killedStore(in: directory)
    // The last commit's last frame is torn: that commit was not acknowledged.
    try log.dropLast(2000).write(to: URL(fileURLWithPath: path + "-wal"))
    let store = try SQLiteStore(path: path)
    #expect(try store.load().count == 9)
    store.close()
  }

  @Test(arguments: [0, 32 + 24 + 100, 32 + 2 * (24 + 4096) + 500])
  func aLogThatLostACommitIsRefused(at offset: Int) throws {
    let directory = try TemporaryDirectory()
    var (path, log) = try killedStore(in: directory)
    log.replaceSubrange(offset..<offset + 16, with: Data(repeating: 0xA5, count: 16))
    try log.write(to: URL(fileURLWithPath: path + "-wal"))
    let failure = error { _ = try SQLiteStore(path: path) }
    #expect(failure?.reason == .damaged)
    #expect(failure?.description.contains("-wal") == true)
    #expect(failure?.description.contains("--restore BACKUP") == true)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path + "-wal")) == log)
  }

  @Test func aLogThatIsReusedIsTaken() throws {
    let directory = try TemporaryDirectory()
    let original = directory.file("original.sqlite")
    let store = try SQLiteStore(path: original)
    // SQLite moves the log into the database after 1000 pages and begins it anew over its old frames.
    for number in 0..<600 { try put("claim-\(number)", in: store) }
    let path = directory.file("claims.sqlite")
    for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: original + suffix, toPath: path + suffix) }
    store.close()
    let again = try SQLiteStore(path: path)
    #expect(try again.load().count == 600)
    again.close()
  }
}

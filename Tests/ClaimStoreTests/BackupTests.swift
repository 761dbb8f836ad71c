import ClaimStore
import Foundation
import Messages
import Testing

@Suite struct BackupTests {
  private func put(_ name: String, in store: any ClaimStore) throws {
    try store.commit([.put(StoreKey(kind: "claim", name: name), Claim { $0.name = name })])
  }

  private func files(in directory: TemporaryDirectory) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
  }

  @Test func aCopyIsOneFileWithAllThatWasCommitted() throws {
    let directory = try TemporaryDirectory()
    let store = try SQLiteStore(path: directory.file("claims.sqlite"))
    for number in 0..<300 { try put("claim-\(number)", in: store) }
    let copy = try store.copy()
    try put("later", in: store)
    #expect(try files(in: directory).filter { $0.hasPrefix("claims.sqlite-partial-") }.count == 1)
    let candidate = try SQLiteStore(candidate: copy)
    #expect(candidate.clusterID == store.clusterID)
    #expect(try candidate.load().count == 300)
    candidate.close()
    store.close()
  }

  @Test func copiesAndCommitsGoOnBesideEachOther() async throws {
    let directory = try TemporaryDirectory()
    let store = try SQLiteStore(path: directory.file("claims.sqlite"))
    try put("first", in: store)
    let queue = CommitQueue(store: store)
    let counts = try await withThrowingTaskGroup(of: Int?.self) { group in
      group.addTask {
        await withCheckedContinuation { continuation in
          for number in 0..<200 {
            queue.enqueue([.put(StoreKey(kind: "claim", name: "\(number)"), Claim())]) { _ in
              if number == 199 { continuation.resume() }
            }
          }
        }
        return nil
      }
      for _ in 0..<5 {
        group.addTask {
          let candidate = try SQLiteStore(candidate: try store.copy())
          defer { candidate.close() }
          return try candidate.load().count
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(counts.compactMap(\.self).count == 5)
    #expect(counts.compactMap(\.self).allSatisfy { (1...201).contains($0) })
    await queue.stop()
    #expect(try store.load().count == 201)
    store.close()
  }

  @Test func aStoreIsReplacedAndTheFormerOneIsKept() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let store = try SQLiteStore(path: path)
    try put("old", in: store)
    let copy = try store.copy()
    try put("new", in: store)
    try store.replace(with: copy, keepingAs: path + ".former")
    #expect(try files(in: directory) == ["claims.sqlite", "claims.sqlite-lock", "claims.sqlite.former"])

    let restored = try SQLiteStore(path: path)
    #expect(try restored.load().map(\.key.name) == ["old"])
    restored.close()
    let former = try SQLiteStore(candidate: path + ".former")
    #expect(try former.load().map(\.key.name) == ["new", "old"])
    former.close()
  }

  @Test func aStoreThatSomebodyElseReadsIsNotReplaced() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let store = try SQLiteStore(path: path)
    try put("old", in: store)
    let copy = try store.copy()
    // A connection that never closes keeps the log: here, a second one to the same file.
    let reader = try SQLiteStore(candidate: path)
    try put("new", in: store)
    let error = #expect(throws: StoreError.self) { try store.replace(with: copy, keepingAs: path + ".former") }
    #expect(error?.description.contains("another process") == true)
    reader.close()
    let again = try SQLiteStore(path: path)
    #expect(try again.load().map(\.key.name) == ["new", "old"])
    again.close()
  }

  @Test(arguments: ["missing", "directory/."])
  func aDamagedStoreThatCannotBeReplacedKeepsItsLog(_ candidate: String) throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    // The second one can be written to the disk and not be renamed: it is found out when the store is away.
    try FileManager.default.createDirectory(atPath: directory.file("directory"), withIntermediateDirectories: false)
    for name in [path, path + "-wal"] { try Data(name.utf8).write(to: URL(fileURLWithPath: name)) }
    let error = #expect(throws: StoreError.self) {
      try SQLiteStore.replaceDamaged(path, with: directory.file(candidate), keepingAs: path + ".former")
    }
    #expect(error?.description.contains("taken back") == false)
    #expect(
      try files(in: directory) == ["claims.sqlite", "claims.sqlite-lock", "claims.sqlite-wal", "directory"])
    for name in [path, path + "-wal"] { #expect(FileManager.default.contents(atPath: name) == Data(name.utf8)) }
  }

  @Test func whatAKilledCoordinatorHadNotFinishedIsRemoved() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("claims.sqlite")
    let first = try SQLiteStore(path: path)
    let left = [try first.copy(), SQLiteStore.candidatePath(forStore: path)]
    try Data([1]).write(to: URL(fileURLWithPath: left[1]))
    try Data([1]).write(to: URL(fileURLWithPath: path + "-partial-notes"))
    first.close()
    try SQLiteStore(path: path).close()
    #expect(try files(in: directory) == ["claims.sqlite", "claims.sqlite-lock", "claims.sqlite-partial-notes"])
  }

  @Test func anEmptyOrForeignFileIsNoBackup() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("backup")
    try Data().write(to: URL(fileURLWithPath: path))
    let empty = #expect(throws: StoreError.self) { try SQLiteStore(candidate: path) }
    #expect(empty?.reason == .foreign)
    #expect(throws: StoreError.self) { try SQLiteStore(candidate: path + "-missing") }
  }
}

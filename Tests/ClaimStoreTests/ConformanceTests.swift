import ClaimStore
import Messages
import Testing

/// What every store must do, whatever it is made of.
struct StoreUnderTest: Sendable, CustomTestStringConvertible {
  var testDescription: String
  /// Opens a new store in a directory, or the one that is there.
  var open: @Sendable (TemporaryDirectory) throws -> any ClaimStore

  static let all = [
    StoreUnderTest(testDescription: "SQLite") { directory in
      try SQLiteStore(path: directory.file("claims.sqlite"))
    }
  ]
}

@Suite struct ConformanceTests {
  private func key(_ name: String, kind: String = "claim") -> StoreKey { StoreKey(kind: kind, name: name) }

  private func claim(_ name: String, revision: UInt64 = 1) -> Claim {
    Claim {
      $0.name = name
      $0.revision = revision
    }
  }

  @Test(arguments: StoreUnderTest.all)
  func aNewStoreIsEmptyAndHasAnIdentityThatStays(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    #expect(try store.load().isEmpty)
    let id = store.clusterID
    #expect(id.count == 36)
    store.close()
    let again = try kind.open(directory)
    #expect(again.clusterID == id)
    again.close()
  }

  @Test(arguments: StoreUnderTest.all)
  func whatWasCommittedIsThereAfterReopening(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    try store.commit([.put(key("b"), claim("b")), .put(key("a"), claim("a")), .put(key("a", kind: "host"), Host())])
    try store.commit([.put(key("a"), claim("a", revision: 2)), .remove(key("b")), .remove(key("never"))])
    store.close()
    let again = try kind.open(directory)
    let records = try again.load()
    #expect(records.map(\.key) == [key("a"), key("a", kind: "host")])
    #expect(try Claim(decoding: records[0].bytes) == claim("a", revision: 2))
    again.close()
  }

  @Test(arguments: StoreUnderTest.all)
  func changesOfOneCommitAreCarriedOutInTheirOrder(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    try store.commit([.put(key("a"), claim("a")), .remove(key("a")), .put(key("a"), claim("a", revision: 9))])
    let records = try store.load()
    #expect(try records.map { try Claim(decoding: $0.bytes).revision } == [9])
    store.close()
  }

  @Test(arguments: StoreUnderTest.all)
  func aSecondCoordinatorIsKeptOut(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    let error = #expect(throws: StoreError.self) { try kind.open(directory) }
    #expect(error?.reason == .inUse)
    store.close()
    try kind.open(directory).close()
  }

  @Test(arguments: StoreUnderTest.all)
  func aClosedStoreRefuses(_ kind: StoreUnderTest) throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    store.close()
    store.close()
    #expect(throws: StoreError.self) { try store.load() }
    let error = #expect(throws: StoreError.self) { try store.commit([.remove(key("a"))]) }
    #expect(error?.reason == .closed)
  }

  @Test(arguments: StoreUnderTest.all)
  func batchesCompleteInOrderEachOnceItIsStored(_ kind: StoreUnderTest) async throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    let queue = CommitQueue(store: store)
    let count = 200
    let order = AsyncStream<Int>.makeStream()
    for number in 0..<count {
      let changes: [StoreChange] = number % 3 == 0 ? [] : [.put(key("\(number)"), claim("\(number)"))]
      queue.enqueue(changes) { result in
        if case .success = result { order.continuation.yield(number) }
      }
    }
    var completed: [Int] = []
    for await number in order.stream {
      completed.append(number)
      if completed.count == count { break }
    }
    #expect(completed == Array(0..<count))
    #expect(try store.load().count == (0..<count).filter { $0 % 3 != 0 }.count)
    await queue.stop()
    store.close()
  }

  @Test(arguments: StoreUnderTest.all)
  func afterAFailedCommitNothingSucceeds(_ kind: StoreUnderTest) async throws {
    let directory = try TemporaryDirectory()
    let store = try kind.open(directory)
    let queue = CommitQueue(store: store)
    store.close()
    let first = await commit([.put(key("a"), claim("a"))], on: queue)
    #expect(first?.reason == .closed)
    let second = await commit([], on: queue)
    #expect(second?.reason == .closed)
    await queue.stop()
  }

  private func commit(_ changes: [StoreChange], on queue: CommitQueue) async -> StoreError? {
    await withCheckedContinuation { continuation in
      queue.enqueue(changes) { result in
        if case .failure(let error) = result {
          continuation.resume(returning: error)
        } else {
          continuation.resume(returning: nil)
        }
      }
    }
  }
}

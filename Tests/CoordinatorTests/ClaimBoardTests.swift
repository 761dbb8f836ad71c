import Services
import Testing

@testable import Coordinator

@Suite struct ClaimBoardTests {
  private func claim(_ name: String, revision: UInt64) -> Claim {
    Claim {
      $0.name = name
      $0.revision = revision
    }
  }

  @Test func aWatcherThatDoesNotReadIsEnded() async throws {
    let board = ClaimBoard(claims: [], revision: 0, epoch: 1, bufferedEvents: 4)
    let slow = try board.watch(WatchClaimsRequest())
    let other = try board.watch(.of("other"))
    for revision in 1...5 { board.change(claim("busy", revision: UInt64(revision))) }
    #expect(board.watcherCount == 1)
    var revisions: [UInt64] = []
    let error = await rpcError { for try await event in slow.events { revisions.append(event.revision) } }
    #expect(revisions == [1, 2, 3, 4])
    #expect(error?.code == .resourceExhausted)
    #expect(error?.message.contains("from the last revision") == true)
    withExtendedLifetime(other) {}
  }

  @Test func aWatchOfOneClaimHearsOfThatOneAlone() async throws {
    let board = ClaimBoard(claims: [claim("a", revision: 1), claim("b", revision: 2)], revision: 2, epoch: 1)
    let watch = try board.watch(.of("b"))
    #expect(watch.beginning.map(\.kind) == [.exists, .synced])
    #expect(watch.beginning.map { $0.claim?.name } == ["b", nil])
    #expect(watch.beginning.map(\.revision) == [2, 2])
    #expect(watch.beginning.map(\.epoch) == [1, 1])
    board.change(claim("a", revision: 3))
    board.remove(claim("b", revision: 4))
    board.end(RPCError(.unavailable, "over"))
    var events: [ClaimEvent] = []
    _ = await rpcError { for try await event in watch.events { events.append(event) } }
    #expect(events.map(\.kind) == [.gone])
    #expect(board.list().claims.map(\.name) == ["a"])
    #expect(board.list().revision == 4)
    #expect(throws: RPCError.self) { _ = try board.watch(WatchClaimsRequest()) }
  }

  @Test func aWatchThatIsGivenUpIsForgotten() async throws {
    let board = ClaimBoard(claims: [], revision: 0, epoch: 1)
    let task = Task { for try await _ in try board.watch(WatchClaimsRequest()).events {} }
    task.cancel()
    _ = await task.result
    #expect(board.watcherCount == 0)
  }

  // MARK: Coming back

  @Test func aWatcherThatComesBackIsToldWhatItMissed() throws {
    let board = ClaimBoard(claims: [claim("a", revision: 3)], revision: 5, epoch: 7)
    for revision in 6...9 { board.change(claim(revision % 2 == 0 ? "a" : "b", revision: UInt64(revision))) }
    board.remove(claim("a", revision: 10))
    let all = try board.watch(.from(7, epoch: 7)).beginning
    #expect(all.map(\.revision) == [8, 9, 10])
    #expect(all.map(\.kind) == [.changed, .changed, .gone])
    #expect(all.allSatisfy { $0.epoch == 7 })
    let one = try board.watch(.from(5, epoch: 7, of: "b")).beginning
    #expect(one.map(\.revision) == [7, 9])
    #expect(try board.watch(.from(10, epoch: 7)).beginning.isEmpty)
  }

  @Test func aRevisionThatIsNotKeptIsRefusedInWords() throws {
    let board = ClaimBoard(claims: [], revision: 5, epoch: 7, keptEvents: 4)
    for revision in 6...15 { board.change(claim("a", revision: UInt64(revision))) }
    // The four kept ones are 12 to 15.
    #expect(try board.watch(.from(11, epoch: 7)).beginning.map(\.revision) == [12, 13, 14, 15])
    #expect(try board.watch(.from(13, epoch: 7)).beginning.map(\.revision) == [14, 15])
    let old = refusal { _ = try board.watch(.from(10, epoch: 7)) }
    #expect(old?.code == .outOfRange)
    #expect(old?.message.contains("only those after 11; watch anew") == true)
    #expect(refusal { _ = try board.watch(.from(16, epoch: 7)) }?.message.contains("the last one is 15") == true)
  }

  @Test func aRevisionOfAnotherEpochSaysNothing() throws {
    let board = ClaimBoard(claims: [], revision: 5, epoch: 7)
    board.change(claim("a", revision: 6))
    let other = refusal { _ = try board.watch(.from(5, epoch: 6)) }
    #expect(other?.code == .outOfRange)
    #expect(other?.message.contains("epoch 6 and this coordinator's is 7") == true)
    board.take(epoch: 9)
    board.change(claim("a", revision: 7))
    #expect(refusal { _ = try board.watch(.from(6, epoch: 7)) }?.code == .outOfRange)
    #expect(try board.watch(.from(6, epoch: 9)).beginning.map(\.epoch) == [9])
  }

  private func refusal(_ body: () throws -> Void) -> RPCError? {
    do {
      try body()
      return nil
    } catch {
      return error as? RPCError
    }
  }
}

extension WatchClaimsRequest {
  static func of(_ name: String) -> WatchClaimsRequest { WatchClaimsRequest { $0.name = name } }

  static func from(_ revision: UInt64, epoch: UInt64, of name: String = "") -> WatchClaimsRequest {
    WatchClaimsRequest {
      $0.name = name
      $0.fromRevision = revision
      $0.epoch = epoch
    }
  }
}

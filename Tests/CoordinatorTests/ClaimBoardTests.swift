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
    let list = board.list(ListClaimsRequest(), endNodeNames: [])
    #expect(list.claims.map(\.name) == ["a"])
    #expect(list.revision == 4)
    #expect(throws: RPCError.self) { _ = try board.watch(WatchClaimsRequest()) }
  }

  // MARK: Lists

  /// Whatever is listed in pages is what one answer holds, and what comes and goes meanwhile makes nothing twice or missing.
  @Test(arguments: [0, 1, 3, 7, 2000] as [UInt32])
  func listsComeInPages(size: UInt32) {
    let board = ClaimBoard(claims: [], revision: 0, epoch: 1)
    for number in 0..<1500 {
      let held = claim("claim-\(10_000 + number)", revision: UInt64(number + 1))
      board.change(number % 3 == 0 ? held : held.holding("card/\(20_000 - number)", on: "host-\(number % 2)"))
    }
    // One has another function, one has none any more, one is no more.
    board.change(claim("claim-10001", revision: 1501).holding("card/1", on: "host-1"))
    board.change(claim("claim-10002", revision: 1502))
    board.remove(claim("claim-10004", revision: 1503))
    let expected = (0..<1500).filter { $0 != 4 }
    func pages<Item>(_ next: (_ token: String) -> (items: [Item], token: String)) -> [Item] {
      var (items, token) = ([Item](), "")
      repeat {
        let page = next(token)
        #expect(size == 0 || page.items.count <= min(size, 1000))
        #expect(size == 0 || page.token.isEmpty || page.items.count == min(size, 1000))
        items += page.items
        token = page.token
      } while !token.isEmpty
      return items
    }
    func claims(_ change: (inout ListClaimsRequest) -> Void) -> [String] {
      var request = ListClaimsRequest { $0.pageSize = size }
      change(&request)
      return pages { token in
        request.pageToken = token
        let answer = board.list(request, endNodeNames: ["card"])
        #expect(answer.revision == 1503)
        return (answer.claims.map(\.name), answer.nextPageToken)
      }
    }
    func functions(_ change: (inout ListFunctionsRequest) -> Void) -> [String] {
      var request = ListFunctionsRequest { $0.pageSize = size }
      change(&request)
      return pages { token in
        request.pageToken = token
        let answer = board.functions(request, endNodeNames: ["card"])
        return (answer.found.map(\.function), answer.next)
      }
    }
    #expect(claims { _ in } == expected.map { "claim-\(10_000 + $0)" })
    #expect(claims { $0.prefix = "claim-110" } == (1000..<1100).map { "claim-\(10_000 + $0)" })
    #expect(claims { $0.prefix = "other" }.isEmpty)
    let onOne = expected.filter { $0 == 1 || $0 % 3 != 0 && $0 % 2 == 1 }
    #expect(claims { $0.host = "host-1" } == onOne.map { "claim-\(10_000 + $0)" })
    let held = expected.filter { $0 % 3 != 0 && $0 != 2 }
    #expect(claims { $0.endNode = "card" } == held.map { "claim-\(10_000 + $0)" })
    let ids = held.map { $0 == 1 ? "card/1" : "card/\(20_000 - $0)" }.sorted()
    #expect(functions { $0.endNode = "card" } == ids)
    #expect(functions { $0.prefix = "card/1850" } == ids.filter { $0.hasPrefix("card/1850") })
    #expect(functions { $0.claim = "claim-10001" } == ["card/1"])
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

extension Claim {
  fileprivate func holding(_ function: String, on host: String) -> Claim {
    var claim = self
    claim.status = ClaimStatus {
      $0.assignment = Assignment {
        $0.function = function
        $0.claim = name
        $0.endNode = "card"
        $0.host = host
      }
    }
    return claim
  }
}

import Messages
import Services

/// How much of a list one answer holds, and where it begins.
private struct Page {
  private static let largest = 1000

  /// The name or id of the last one of the answer before; empty: from the beginning.
  let after: String
  let limit: Int

  /// - Parameter size: zero: all.
  init(size: UInt32, token: String) {
    after = token
    limit = size == 0 ? .max : min(Int(size), Self.largest)
  }

  /// How many are looked at before those who wait for the board have their turn. More than a page, so that one with nothing to sort out
  /// takes one look.
  var stretch: Int { min(limit, Self.largest) + 1 }
}

extension ClaimBoard {
  /// Those that the request is about, by name.
  func list(_ request: ListClaimsRequest, endNodeNames: Set<String>) -> ListClaimsResponse {
    let page = Page(size: request.pageSize, token: request.pageToken)
    let revision = read { $1 }
    let (claims, next) = gather(page, named: \.name) { claims, after in
      Array(claims.claims(after: after, prefix: request.prefix).prefix(page.stretch))
    } where: {
      request.includes($0, endNodeNames: endNodeNames)
    }
    return ListClaimsResponse {
      $0.claims = claims
      $0.revision = revision
      $0.nextPageToken = next
    }
  }

  /// Those that the request is about, by id.
  func functions(_ request: ListFunctionsRequest, endNodeNames: Set<String>) -> (found: [Assignment], next: String) {
    let page = Page(size: request.pageSize, token: request.pageToken)
    return gather(page, named: \.function) { claims, after in
      Array(claims.functions(after: after, prefix: request.prefix).prefix(page.stretch))
    } where: {
      request.includes($0, endNodeNames: endNodeNames)
    }
  }

  private func gather<Item: Sendable>(
    _ page: Page, named name: KeyPath<Item, String>, _ stretch: (borrowing ListedClaims, _ after: String) -> [Item],
    where isAskedFor: (Item) -> Bool
  ) -> (found: [Item], next: String) {
    var found: [Item] = []
    var after = page.after
    while true {
      let looked = read { claims, _ in stretch(claims, after) }
      found += looked.lazy.filter(isAskedFor)
      // One more than the page tells whether there are more.
      if found.count > page.limit { break }
      guard looked.count == page.stretch, let last = looked.last else { return (found, "") }
      after = last[keyPath: name]
    }
    found.removeSubrange(page.limit...)
    return (found, found.last?[keyPath: name] ?? "")
  }
}

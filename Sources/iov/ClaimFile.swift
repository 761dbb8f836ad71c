import Configuration
import Services

/// Claims as a file has them: documents, each a claim or a list of claims, as `iov claim get` and `iov claim list` print them. Only
/// names and specifications count; what a claim has become is left where it is.
struct ClaimFile {
  private(set) var claims: [CreateClaimRequest] = []
  /// By name: where it stands, `web.yaml:12`.
  private(set) var places: [String: String] = [:]

  init(path: String) throws(ConfigurationError) {
    try self.init(YAMLDocument.load(from: path, kind: "claims"), named: path)
  }

  init(_ documents: [YAMLDocument], named name: String) throws(ConfigurationError) {
    for document in documents {
      if let elements = document.elements {
        for element in elements { try take(element) }
      } else if let list = document.value(of: "claims") {
        guard let elements = list.elements else { throw list.error("'claims' must be a list") }
        for element in elements { try take(element) }
      } else {
        try take(document)
      }
    }
    guard !claims.isEmpty else { throw ConfigurationError("\(name): there is no claim in it") }
  }

  private mutating func take(_ document: YAMLDocument) throws(ConfigurationError) {
    let claim = try document.decode(Claim.self)
    guard !claim.name.isEmpty else { throw document.error("a claim without a 'name' begins here") }
    guard let specification = claim.specification else {
      throw document.error("claim '\(claim.name)' has no 'specification'")
    }
    if let first = places[claim.name] {
      throw document.error("claim '\(claim.name)' stands twice, first at \(first)")
    }
    places[claim.name] = "\(document.file):\(document.line)"
    claims.append(
      CreateClaimRequest {
        $0.name = claim.name
        $0.specification = specification
      })
  }
}

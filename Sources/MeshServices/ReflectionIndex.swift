/// The files that a server's services need, by what is asked for.
struct ReflectionIndex: Sendable {
  private let services: [String]
  private var files: [String: FileDescriptor] = [:]
  private var fileNameBySymbol: [String: String] = [:]
  private var messages: Set<String> = []

  init(services: [String], files: [FileDescriptor]) {
    self.services = services.sorted()
    let known = Dictionary(files.map { ($0.name, $0) }) { first, _ in first }
    for root in files where !root.symbols.isDisjoint(with: services) {
      for file in Self.withDependencies(root, known) where self.files.updateValue(file, forKey: file.name) == nil {
        messages.formUnion(file.messages)
        for symbol in file.symbols { fileNameBySymbol[symbol] = file.name }
      }
    }
  }

  func answer(_ request: ServerReflectionRequest.MessageRequest?) -> ServerReflectionResponse.MessageResponse {
    switch request {
    case .listServices:
      let list = ListServiceResponse { $0.service = services.map { name in ServiceResponse { $0.name = name } } }
      return .listServicesResponse(list)
    case .fileByFilename(let name):
      guard let file = files[name] else { return error(.notFound, "no service here needs a file '\(name)'") }
      return description(of: file)
    case .fileContainingSymbol(let symbol):
      guard let file = fileNameBySymbol[symbol].flatMap({ files[$0] }) else {
        return error(.notFound, "no service here needs a file that declares '\(symbol)'")
      }
      return description(of: file)
    case .fileContainingExtension(let request):
      return error(
        .notFound, "no extension \(request.extensionNumber) of '\(request.containingType)': there are none in proto3")
    case .allExtensionNumbersOfType(let type):
      guard messages.contains(type) else { return error(.notFound, "no service here needs a message '\(type)'") }
      return .allExtensionNumbersResponse(ExtensionNumberResponse { $0.baseTypeName = type })
    case nil:
      return error(.invalidArgument, "the request asks for nothing that this version knows")
    }
  }

  /// With all that it imports, so that a client needs no second question.
  private func description(of file: FileDescriptor) -> ServerReflectionResponse.MessageResponse {
    .fileDescriptorResponse(
      FileDescriptorResponse { $0.fileDescriptorProto = Self.withDependencies(file, files).map(\.bytes) })
  }

  private func error(_ code: StatusCode, _ message: String) -> ServerReflectionResponse.MessageResponse {
    .errorResponse(
      ErrorResponse {
        $0.errorCode = Int32(code.rawValue)
        $0.errorMessage = message
      })
  }

  /// The file, then each one that it imports, near or far, once.
  private static func withDependencies(_ file: FileDescriptor, _ known: [String: FileDescriptor]) -> [FileDescriptor] {
    var found = [file]
    var next = 0
    while next < found.count {
      for name in found[next].dependencies where !found.contains(where: { $0.name == name }) {
        if let dependency = known[name] { found.append(dependency) }
      }
      next += 1
    }
    return found
  }
}

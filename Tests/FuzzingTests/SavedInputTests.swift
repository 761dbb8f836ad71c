import Foundation
import Fuzzing
import Testing

/// Inputs that fuzzing began with or found, through the same code in an ordinary build.
@Suite struct SavedInputTests {
  @Test(arguments: FuzzTarget.allCases)
  func everySavedInputIsSurvived(target: FuzzTarget) throws {
    let corpora = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fuzzing/Corpora")
    let files = try FileManager.default.contentsOfDirectory(
      at: corpora.appending(path: target.rawValue), includingPropertiesForKeys: nil)
    #expect(!files.isEmpty)
    for file in files {
      // A target that fails ends the process; its last words name the file.
      print("replaying \(target.rawValue)/\(file.lastPathComponent)")
      try Data(contentsOf: file).withUnsafeBytes { target.run($0) }
    }
  }
}

/// Fields that stand in a document of their own, read by the rules of those under a step's `with`. There is nothing that a reference could
/// lead to.
///
/// - Returns: the fields with their defaults, nil where there is any error; and the findings in reading order.
package func validateFields(document: Located, what: String, fields: [FieldSchema]) -> (fields: PlanValue?, diagnostics: [Diagnostic]) {
    var validator = FieldValidator(PlanContext(kinds: [], parameters: [], stepNames: [], inventory: nil), Findings(), hosts: [])
    validator.checkRecord(document, what, fields: fields)
    guard !validator.findings.hasErrors else { return (nil, validator.findings.diagnostics.inReadingOrder()) }
    do throws(RenderError) {
        let schema = StepKindSchema(name: what, summary: "", fields: fields)
        let rendered = try renderFields(document.value, schema: schema, scope: TemplateScope(parameters: ParameterBinding(values: [:])))
        return (rendered, validator.findings.diagnostics.inReadingOrder())
    } catch {
        validator.findings.error(error.code, at: error.mark, error.reason, hints: error.hints)
        return (nil, validator.findings.diagnostics.inReadingOrder())
    }
}

package customise

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// errAnchor is wrapped by all errors that say that the source is not what the edits were made for.
var errAnchor = errors.New("anchor not found")

// apply puts the edit into a source file. A file that has it already is returned as it is.
func (e Edit) apply(source []byte) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, e.File, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	function, err := e.find(file)
	if err != nil {
		return nil, err
	}
	offset := func(position token.Pos) int { return files.Position(position).Offset }
	body := string(source[offset(function.Body.Pos()):offset(function.Body.End())])
	if strings.Contains(body, e.call()+"(") {
		return source, nil
	}
	for _, name := range e.Uses {
		if !declares(function, name) {
			return nil, e.missing("the name %s is not declared in it", name)
		}
	}
	at, err := e.anchor(function)
	if err != nil {
		return nil, err
	}
	var edited bytes.Buffer
	if e.Place == WrapReturn {
		before, after, found := strings.Cut(e.Line, returned)
		if !found {
			return nil, fmt.Errorf("the line %q has no %s", e.Line, returned)
		}
		from, to := offset(at.Pos()), offset(at.End())
		edited.Write(source[:from])
		edited.WriteString(before)
		edited.Write(source[from:to])
		edited.WriteString(after)
		edited.Write(source[to:])
	} else {
		from := offset(at.Pos())
		edited.Write(source[:from])
		edited.WriteString(e.Line + "\n")
		edited.Write(source[from:])
	}
	return edited.Bytes(), nil
}

// call is the name of our function that the line calls.
func (e Edit) call() string {
	start := strings.Index(e.Line, "asts")
	if start < 0 {
		return e.Line
	}
	name, _, _ := strings.Cut(e.Line[start:], "(")
	return name
}

func (e Edit) name() string {
	if e.Receiver == "" {
		return e.Function
	}
	return e.Receiver + "." + e.Function
}

func (e Edit) missing(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w: %s", e.File, e.name(), errAnchor, fmt.Sprintf(format, args...))
}

// find returns the one function of that name with that receiver.
func (e Edit) find(file *ast.File) (*ast.FuncDecl, error) {
	var found []*ast.FuncDecl
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if ok && function.Body != nil && function.Name.Name == e.Function && receiver(function) == e.Receiver {
			found = append(found, function)
		}
	}
	if len(found) != 1 {
		return nil, e.missing("there are %d such functions, not one", len(found))
	}
	return found[0], nil
}

func receiver(function *ast.FuncDecl) string {
	if function.Recv == nil || len(function.Recv.List) != 1 {
		return ""
	}
	of := function.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if name, ok := of.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// declares tells whether a function has a receiver, a parameter, a result or a variable of its own
// block with that name.
func declares(function *ast.FuncDecl, name string) bool {
	found := false
	fields := func(list *ast.FieldList) {
		if list == nil {
			return
		}
		for _, field := range list.List {
			for _, declared := range field.Names {
				found = found || declared.Name == name
			}
		}
	}
	fields(function.Recv)
	fields(function.Type.Params)
	fields(function.Type.Results)
	for _, statement := range function.Body.List {
		switch statement := statement.(type) {
		case *ast.AssignStmt:
			for _, target := range statement.Lhs {
				declared, ok := target.(*ast.Ident)
				found = found || ok && statement.Tok == token.DEFINE && declared.Name == name
			}
		case *ast.DeclStmt:
			ast.Inspect(statement, func(node ast.Node) bool {
				if value, ok := node.(*ast.ValueSpec); ok {
					for _, declared := range value.Names {
						found = found || declared.Name == name
					}
				}
				return true
			})
		}
	}
	return found
}

// anchor is the node before which the line goes, or around which with WrapReturn.
func (e Edit) anchor(function *ast.FuncDecl) (ast.Node, error) {
	statements := function.Body.List
	if len(statements) == 0 {
		return nil, e.missing("it is empty")
	}
	last := statements[len(statements)-1]
	switch e.Place {
	case AtStart:
		return statements[0], nil
	case BeforeLastIf:
		for n := len(statements) - 1; n >= 0; n-- {
			if condition, ok := statements[n].(*ast.IfStmt); ok {
				return condition, nil
			}
		}
		return nil, e.missing("it has no if statement in its own block")
	case BeforeLastReturn, WrapReturn:
		end, ok := last.(*ast.ReturnStmt)
		if !ok {
			return nil, e.missing("its last statement is no return")
		}
		if e.Place == BeforeLastReturn {
			return end, nil
		}
		if len(end.Results) != 1 {
			return nil, e.missing("it returns %d values at its end, not one", len(end.Results))
		}
		return end.Results[0], nil
	case InLoop:
		return e.loop(function)
	default:
		return nil, fmt.Errorf("unknown place %d", e.Place)
	}
}

func (e Edit) loop(function *ast.FuncDecl) (ast.Node, error) {
	var loops []*ast.BlockStmt
	ast.Inspect(function.Body, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.ForStmt:
			loops = append(loops, node.Body)
		case *ast.RangeStmt:
			loops = append(loops, node.Body)
		}
		return true
	})
	if len(loops) != 1 || len(loops[0].List) == 0 {
		return nil, e.missing("it has %d loops, not one", len(loops))
	}
	return loops[0].List[0], nil
}

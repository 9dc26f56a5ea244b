package tidy

import (
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// pure are the packages that must give the same bytes everywhere, in the order of their imports.
var pure = []string{"engine/decimal", "engine"}

// harmless packages of the standard library reach no file, clock, network or chance.
var harmless = []string{
	"bytes", "cmp", "crypto/sha256", "encoding/binary", "encoding/hex", "errors", "fmt", "math",
	"math/big", "math/bits", "slices", "sort", "strconv", "strings", "unicode/utf8",
}

// excepted imports, by file: an index of a View is made once, by whichever reader comes first.
var excepted = map[string]string{"engine/view.go": "sync"}

// checked is one pure package with its types.
type checked struct {
	files []*ast.File
	info  *types.Info
	pkg   *types.Package
	fault error
}

// checkPure type-checks the pure packages that the tree has.
func checkPure(t *tree) []*checked {
	var out []*checked
	done := ours{std: importer.ForCompiler(t.fset, "gc", nil), pkgs: map[string]*types.Package{}}
	for _, dir := range pure {
		c := &checked{info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{},
			Defs: map[*ast.Ident]types.Object{},
		}}
		for _, f := range t.files {
			if f.dir == dir && !f.test {
				c.files = append(c.files, f.ast)
			}
		}
		if len(c.files) == 0 {
			continue
		}
		conf := types.Config{Importer: &done, Error: func(err error) {
			if c.fault == nil {
				c.fault = err
			}
		}}
		c.pkg, _ = conf.Check(module+"/"+dir, t.fset, c.files, c.info) // the fault is in c
		done.pkgs[module+"/"+dir] = c.pkg
		out = append(out, c)
	}
	return out
}

// ours imports packages that were checked before, and those of the standard library.
type ours struct {
	std  types.Importer
	pkgs map[string]*types.Package
}

func (o *ours) Import(name string) (*types.Package, error) {
	if p := o.pkgs[name]; p != nil {
		return p, nil
	}
	return o.std.Import(name)
}

// checkWalls keeps everything out of the pure packages that could make two runs differ.
func checkWalls(t *tree) (out []string) {
	for _, f := range t.files {
		if f.test || !slices.Contains(pure, f.dir) {
			continue
		}
		for _, spec := range f.ast.Imports {
			p := importPath(spec)
			if !slices.Contains(harmless, p) && excepted[f.path] != p &&
				!strings.HasPrefix(p, module+"/") {
				out = append(out, t.at(spec.Pos(), "%s must not import %s", f.dir, p))
			}
		}
	}
	for _, c := range checkPure(t) {
		if c.fault != nil {
			out = append(out, c.fault.Error())
		}
		for _, f := range c.files {
			out = append(out, wallsOf(t, c, f)...)
		}
	}
	return out
}

func wallsOf(t *tree, c *checked, f *ast.File) (out []string) {
	said := map[int]bool{} // lines on which floats were found
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, t.at(n.Pos(), "a goroutine"))
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			out = append(out, t.at(n.Pos(), "a channel"))
		case *ast.RangeStmt:
			if x := c.info.TypeOf(n.X); x != nil {
				if _, ok := x.Underlying().(*types.Map); ok {
					out = append(out, t.at(n.Pos(), "the order of a map"))
				}
			}
		}
		if e, ok := n.(ast.Expr); ok && isFloat(c.info.TypeOf(e)) {
			if line := t.fset.Position(e.Pos()).Line; !said[line] {
				said[line] = true
				out = append(out, t.at(e.Pos(), "a float"))
			}
		}
		return true
	})
	return out
}

func isFloat(t types.Type) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&(types.IsFloat|types.IsComplex) != 0
}

// checkGlobals: variables of a pure package are constants that the language can't express. Nothing
// writes to one after its declaration, to a part of it, or takes its address, here or elsewhere.
func checkGlobals(t *tree) (out []string) {
	for _, c := range checkPure(t) {
		global := func(e ast.Expr) (string, bool) {
			if id := rootOf(e); id != nil {
				v, ok := c.info.Uses[id].(*types.Var)
				return id.Name, ok && v.Parent() == c.pkg.Scope()
			}
			return "", false
		}
		for _, f := range c.files {
			out = append(out, writesTo(t, f, global)...)
		}
	}
	for _, f := range t.files {
		if f.test || slices.Contains(pure, f.dir) {
			continue
		}
		names := map[string]string{} // of the pure packages in this file
		for _, spec := range f.ast.Imports {
			if dir, ok := strings.CutPrefix(importPath(spec), module+"/"); ok &&
				slices.Contains(pure, dir) && spec.Name == nil {
				names[dir[strings.LastIndexByte(dir, '/')+1:]] = dir
			}
		}
		out = append(out, writesTo(t, f.ast, func(e ast.Expr) (string, bool) {
			return foreign(e, names)
		})...)
	}
	return out
}

// foreign returns the variable of an imported package that an expression is a part of.
func foreign(e ast.Expr, names map[string]string) (string, bool) {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			id, ok := x.X.(*ast.Ident)
			if ok && id.Obj == nil && names[id.Name] != "" {
				return id.Name + "." + x.Sel.Name, true
			}
			e = x.X
		default:
			return "", false
		}
	}
}

// rootOf returns the variable that an operand is a part of.
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// writesTo finds where something that is global is written to, or its address is taken.
func writesTo(t *tree, f *ast.File, global func(ast.Expr) (string, bool)) (out []string) {
	written := func(pos token.Pos, e ast.Expr) {
		if name, ok := global(e); ok {
			out = append(out, t.at(pos, "%s is written to", name))
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				written(n.Pos(), e)
			}
		case *ast.IncDecStmt:
			written(n.Pos(), n.X)
		case *ast.UnaryExpr:
			if _, literal := n.X.(*ast.CompositeLit); n.Op == token.AND && !literal {
				if name, ok := global(n.X); ok {
					out = append(out, t.at(n.Pos(), "%s is given away by its address", name))
				}
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 &&
				slices.Contains([]string{"delete", "clear", "copy"}, id.Name) {
				written(n.Pos(), n.Args[0])
			}
		}
		return true
	})
	return out
}

<?php

namespace App\Http\Controllers;

use Illuminate\Http\Request;
use Illuminate\Support\Facades\Auth;

class LoginController
{
    public function show()
    {
        return view('login');
    }

    public function login(Request $request)
    {
        if (! Auth::attempt($request->only('email', 'password'))) {
            return redirect('/login')->withErrors(['email' => 'This e-mail and password do not match.'])->withInput();
        }
        $request->session()->regenerate();

        return redirect()->intended('/members');
    }

    public function logout(Request $request)
    {
        Auth::guard()->logoutCurrentDevice();
        $request->session()->invalidate();

        return redirect('/login');
    }
}
